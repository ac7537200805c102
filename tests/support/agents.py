"""An agent's policy as an operator writes one, small."""

from __future__ import annotations

from typing import Any

from ledger.standard import ledger_object
from ledger.types import JsonObject

RATE: JsonObject = {"capacity": 100, "perSeconds": 60}
BUDGET: JsonObject = {"calls": RATE, "argumentBytes": RATE, "answerBytes": RATE, "objects": RATE}


def policy_object(name: str, did: str, *guards: str, **changed: Any) -> JsonObject:
    """Give the policy of the agent ``name``: one tool, watched over by ``guards``, some fields changed."""
    rule = {"path": "name", "type": "name", "patterns": ["*"]}
    spec = {
        "agent": did,
        "budget": BUDGET,
        "openProposalsMax": 4,
        "guards": sorted(guards),
        "tools": [{"tool": "get_release", "arguments": [rule], "budget": BUDGET}],
    }
    return ledger_object("AgentPolicy", name, {**spec, **changed})
