"""What the command line lists of the ledger besides releases and proposals: objects, freezes, people.

Owns no rule. Promises that every list is complete and every record proven, as ``consensus.listing`` and
``View`` have it; a record of an unknown form is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus.listing import listing
from consensus.reader import View
from ledger import identity, index, records, rollout, statekeys
from ledger.authority.objects import StoredObject, read_stored
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.identity import IdentityRecord
from ledger.records import (
    ConstitutionRecord,
    DesiredRecord,
    FreezeRecord,
    IncidentRecord,
    ValidatorsRecord,
)
from ledger.rollout import RolloutRecord

R = TypeVar("R")
Get = Callable[[bytes], bytes | None]
INCIDENTS_SHOWN_MAX = 256


def objects(view: View, kind: str) -> list[StoredObject]:
    """Give every ledger object of a kind, by name."""
    return view.read(
        lambda get: [
            _required(get, statekeys.ledger_object(kind, name), read_stored)
            for name in listing(get, statekeys.index_objects(kind))
        ]
    ).value


def constitution(view: View) -> ConstitutionRecord:
    """Give the constitution's record."""
    return view.read(lambda get: _required(get, statekeys.CONSTITUTION, records.read_constitution)).value


def people(view: View) -> list[IdentityRecord]:
    """Give every identity, by name."""
    found = view.read(
        lambda get: [
            _required(get, statekeys.identity(did), identity.read_identity)
            for did in listing(get, statekeys.INDEX_IDENTITIES)
        ]
    ).value
    return sorted(found, key=lambda person: person.name)


def person(view: View, name: str) -> IdentityRecord:
    """Give an identity by name or DID.

    Raises:
        Refused: NAME_UNKNOWN.
    """
    found = view.read(lambda get: _person(get, name)).value
    if found is None:
        raise Refused(
            Code.NAME_UNKNOWN,
            got=name,
            expected="a subject of the ledger",
            todo="see: conclave get identities",
        )
    return found


def freezes(view: View) -> tuple[FreezeRecord, ...]:
    """Give every freeze, by name."""
    found = view.read(lambda get: _optional(get, statekeys.FREEZES, records.read_freezes)).value
    return () if found is None else found.freezes


def incidents(view: View) -> list[IncidentRecord]:
    """Give the newest ``INCIDENTS_SHOWN_MAX`` incidents, the newest first."""

    def read(get: Get) -> list[IncidentRecord]:
        count = _optional(get, statekeys.INCIDENTS, records.read_count) or 0
        numbers = range(count, max(0, count - INCIDENTS_SHOWN_MAX), -1)
        return [_required(get, statekeys.incident(n), records.read_incident) for n in numbers]

    return view.read(read).value


def validators(view: View) -> ValidatorsRecord:
    """Give the validator set as the ledger wants it two heights on."""
    return view.read(lambda get: _required(get, statekeys.VALIDATORS, records.read_validators)).value


def rollouts(view: View) -> list[RolloutRecord]:
    """Give the newest rollout of every release, by name."""
    return view.read(
        lambda get: [
            found
            for name in listing(get, statekeys.INDEX_RELEASES)
            if (found := _optional(get, statekeys.rollout(name), rollout.read)) is not None
        ]
    ).value


def rollout_of(view: View, release: str) -> RolloutRecord | None:
    """Give the newest rollout of a release."""
    return view.read(lambda get: _optional(get, statekeys.rollout(release), rollout.read)).value


def desired(view: View, cluster: str, release: str) -> DesiredRecord | None:
    """Give what a cluster's bridge makes true of a release; None where nothing was started there."""
    key = statekeys.desired(cluster, release)
    return view.read(lambda get: _optional(get, key, records.read_desired)).value


def _person(get: Get, name: str) -> IdentityRecord | None:
    did = name
    if not name.startswith("did:"):
        found = _optional(get, statekeys.identity_name(index.check_entry(name)), records.read_did)
        if found is None:
            return None
        did = found
    return _optional(get, statekeys.identity(did), identity.read_identity)


def _required(get: Get, key: bytes, read: Callable[[bytes], R]) -> R:
    found = _optional(get, key, read)
    if found is None:
        raise VerificationFailed(
            Code.LEDGER_RECORD_INVALID,
            got="nothing",
            expected="the record another one names",
            key=statekeys.text(key),
        )
    return found


def _optional(get: Get, key: bytes, read: Callable[[bytes], R]) -> R | None:
    content = get(key)
    if content is None:
        return None
    try:
        return read(content)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key=statekeys.text(key)
        ) from None
