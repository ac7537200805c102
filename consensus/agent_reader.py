"""What the ledger knows of agents, answered with proof: policies, suspensions, anchors, observations.

Promises that every record is of whom it was asked about, that every list is complete, and that the anchors of
a log follow each other without a gap. Texts of observations are what agents wrote: untrusted. Every function
takes a ``View`` and gives a ``Verified`` value; none has another way to read. Source: docs/spec/agents.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from consensus.evidence import Get, optional, required, unbound
from consensus.ledger_reader import count_of, objects_of
from consensus.listing import listing
from consensus.reader import View
from consensus.verified import Verified
from ledger import agent_records, statekeys
from ledger import identity as identity_rules
from ledger.agent_policy import AgentPolicy, read_policy
from ledger.agent_records import AnchorRecord, ObservationRecord, SuspensionRecord, anchor_digest
from ledger.authority.objects import StoredObject, read_stored
from ledger.identity import IdentityRecord
from ledger.limits import ANCHORS_PER_LOG_MAX, OBSERVATIONS_PER_AGENT_MAX

T = TypeVar("T")
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


def identity_of(view: View, did: str) -> Verified[IdentityRecord | None]:
    """Give the identity of a DID; None where it is proven that it has none."""
    return view.read(lambda get: _identity(get, did))


def policy_of(view: View, did: str) -> Verified[PolicyInForce | None]:
    """Give what an agent may say; None where it is proven that it has no policy, or is no subject."""
    return view.read(lambda get: _policy_of(get, did))


def policies(view: View) -> Verified[tuple[PolicyInForce, ...]]:
    """Give every agent's policy, by the agent's name."""
    return view.read(lambda get: objects_of(get, _POLICY, _in_force))


def suspension_of(view: View, did: str) -> Verified[SuspensionRecord | None]:
    """Give the suspension of an agent; None where it is proven that it is not cut off."""
    return view.read(lambda get: _suspension(get, did))


def suspensions(view: View) -> Verified[tuple[SuspensionRecord, ...]]:
    """Give every suspension, by the agent's DID."""
    return view.read(
        lambda get: tuple(
            _there(statekeys.suspension(did), _suspension(get, did))
            for did in listing(get, statekeys.INDEX_SUSPENSIONS)
        )
    )


def anchor_of(view: View, node: str, log: str) -> Verified[AnchorRecord | None]:
    """Give the newest anchor of a node's audit log; None where it is proven that there is none."""
    return view.read(lambda get: _newest_anchor(get, node, log))


def anchor_history(view: View, node: str, log: str) -> Verified[tuple[AnchorRecord, ...]]:
    """Give the newest anchors of a node's audit log that are kept, at most 256, the newest first."""
    return view.read(lambda get: _anchor_history(get, node, log))


def anchors(view: View) -> Verified[tuple[AnchorRecord, ...]]:
    """Give the newest anchor of every audit log, by the node's DID and the log's id."""
    return view.read(_anchors)


def observations(view: View, did: str) -> Verified[tuple[ObservationRecord, ...]]:
    """Give what an agent observed, at most 64, the newest first. The texts are untrusted."""
    return view.read(lambda get: _observations(get, did))


def all_observations(view: View) -> Verified[tuple[ObservationRecord, ...]]:
    """Give what every agent observed, by the agent's DID, of each the newest first."""
    return view.read(
        lambda get: tuple(
            found for did in listing(get, statekeys.INDEX_OBSERVERS) for found in _observations(get, did)
        )
    )


def _suspension(get: Get, did: str) -> SuspensionRecord | None:
    key = statekeys.suspension(did)
    found = optional(get, key, agent_records.read_suspension)
    if found is not None and found.agent != did:
        raise unbound(key, found.agent, did)
    return found


def _newest_anchor(get: Get, node: str, log: str) -> AnchorRecord | None:
    return _anchor(get, statekeys.audit_anchor(node, log), (node, log))


def _anchor(get: Get, key: bytes, of: tuple[str, str]) -> AnchorRecord | None:
    found = optional(get, key, agent_records.read_anchor)
    if found is not None and (found.node, found.log) != of:
        raise unbound(key, f"{found.log} of {found.node}", f"{of[1]} of {of[0]}")
    return found


def _anchors(get: Get) -> tuple[AnchorRecord, ...]:
    return tuple(
        _there(statekeys.audit_anchor(node, log), _newest_anchor(get, node, log))
        for node in listing(get, statekeys.INDEX_AUDITORS)
        for log in listing(get, statekeys.audit_logs(node))
    )


def _anchor_history(get: Get, node: str, log: str) -> tuple[AnchorRecord, ...]:
    newest = _newest_anchor(get, node, log)
    if newest is None:
        return ()
    found: list[AnchorRecord] = []
    for number in range(newest.number, max(0, newest.number - ANCHORS_PER_LOG_MAX), -1):
        key = statekeys.audit_anchor_number(node, log, number)
        one = _there(key, _anchor(get, key, (node, log)))
        if one.number != number or (number == newest.number and one != newest):
            raise unbound(key, f"anchor {one.number}", f"anchor {number}")
        if found:
            after = found[-1]
            said = (after.count, after.head, after.height, after.time)
            if one.count >= after.count or anchor_digest(one.digest, said) != after.digest:
                raise unbound(key, one.digest, f"what anchor {after.number} follows")
        found.append(one)
    return tuple(found)


def _observations(get: Get, did: str) -> tuple[ObservationRecord, ...]:
    count = count_of(get, statekeys.observations(did))
    return tuple(
        _observation(get, did, n) for n in range(count, max(0, count - OBSERVATIONS_PER_AGENT_MAX), -1)
    )


def _observation(get: Get, did: str, number: int) -> ObservationRecord:
    key = statekeys.observation(did, number % OBSERVATIONS_PER_AGENT_MAX)
    found = required(get, key, agent_records.read_observation)
    if (found.agent, found.number) != (did, number):
        raise unbound(key, f"{found.number} of {found.agent}", f"{number} of {did}")
    return found


def _there(key: bytes, found: T | None) -> T:
    """Give the record that a list names."""
    if found is None:
        raise unbound(key, "nothing", "the record that the index names")
    return found


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
