"""What the ledger knows of agents, answered with proof: what each may say.

Promises that a policy is the one of the agent asked about. Every function takes a ``View`` and gives a
``Verified`` value; none has another way to read. Source: docs/spec/agents.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.evidence import Get, optional, required, unbound
from consensus.ledger_reader import objects_of
from consensus.reader import View
from consensus.verified import Verified
from ledger import identity as identity_rules
from ledger import statekeys
from ledger.agent_policy import AgentPolicy, read_policy
from ledger.authority.objects import StoredObject, read_stored
from ledger.identity import IdentityRecord

_POLICY = "AgentPolicy"


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """An agent's policy as the ledger has it.

    Attributes:
        name: the agent's.
        version: of the policy, from 1.
        height: that put it.
        authority: the proposal by which; None where genesis did.
    """

    name: str
    version: int
    height: int
    authority: str | None
    policy: AgentPolicy


def policy_of(view: View, did: str) -> Verified[PolicyInForce | None]:
    """Give what an agent may say; None where it is proven that it has no policy, or is no subject."""
    return view.read(lambda get: _policy_of(get, did))


def policies(view: View) -> Verified[tuple[PolicyInForce, ...]]:
    """Give every agent's policy, by the agent's name."""
    return view.read(lambda get: objects_of(get, _POLICY, _in_force))


def _policy_of(get: Get, did: str) -> PolicyInForce | None:
    agent = _identity(get, did)
    if agent is None:
        return None
    key = statekeys.ledger_object(_POLICY, agent.name)
    stored = optional(get, key, read_stored)
    if stored is None:
        return None
    if (stored.kind, stored.name) != (_POLICY, agent.name):
        raise unbound(key, f"{stored.kind} {stored.name}", f"{_POLICY} {agent.name}")
    found = required(get, key, lambda _: _in_force(stored))
    if found.policy.agent != did:
        raise unbound(key, found.policy.agent, did)
    return found


def _in_force(stored: StoredObject) -> PolicyInForce:
    policy = read_policy(stored.spec)
    return PolicyInForce(stored.name, stored.version, stored.height, stored.authority, policy)


def _identity(get: Get, did: str) -> IdentityRecord | None:
    key = statekeys.identity(did)
    found = optional(get, key, identity_rules.read_identity)
    if found is not None and found.did != did:
        raise unbound(key, found.did, did)
    return found
