"""What the machine knows of agents: what each may say, and to whom it answers.

Owns the judgement of an agent's policy when it is put. Promises that a policy is of the agent it is named
after, and that those who watch over it are nodes. Never judges a call: the guard of an MCP server does.
Source: docs/spec/agents.md.
"""

from __future__ import annotations

from abci_app.check import identity_of
from ledger import canonical, shape
from ledger.agent_policy import AgentPolicy, read_policy
from ledger.authority.objects import StoredObject
from ledger.errors import Code, Refused
from ledger.limits import AGENT_POLICY_BYTES_MAX
from ledger.types import SubjectKind
from state.reader import StateReader


def check_policy(state: StateReader, stored: StoredObject) -> AgentPolicy:
    """Read an ``AgentPolicy`` that is about to be put, and judge whom it names.

    Raises:
        Refused: LIMIT_EXCEEDED, SIGNER_UNKNOWN, any code of ``shape`` with the field's path.
    """
    size = len(canonical.dump_plain(stored.spec))
    if size > AGENT_POLICY_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{size} bytes",
            expected=f"at most {AGENT_POLICY_BYTES_MAX}",
            field="spec",
        )
    policy = read_policy(stored.spec)
    agent = identity_of(state, policy.agent)
    if agent.kind is not SubjectKind.AGENT or agent.name != stored.name:
        got = f"{agent.kind.value} {agent.name}"
        raise shape.invalid("spec.agent", got, f"the did of the agent {stored.name}")
    for place, did in enumerate(policy.guards):
        guard = identity_of(state, did)
        if guard.kind is not SubjectKind.NODE:
            raise shape.invalid(
                f"spec.guards[{place}]", f"{guard.kind.value} {guard.name}", "the did of a node"
            )
    return policy
