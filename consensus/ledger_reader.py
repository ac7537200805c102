"""The ledger's own objects, answered with proof: the constitution, identities, clusters, freezes, incidents.

Promises that every list is complete and every record is kept under its own name. Every function takes a
``View`` and gives a ``Verified`` value; none has another way to read. Source: docs/spec/ledger.md §3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus.evidence import Get, optional, required, unbound
from consensus.listing import listing
from consensus.reader import View
from consensus.verified import Verified
from ledger import identity as identity_rules
from ledger import records, statekeys
from ledger.authority.objects import (
    ApprovalRule,
    BreakGlass,
    Role,
    RoleBinding,
    StoredObject,
    read_approval_rule,
    read_break_glass,
    read_role,
    read_role_binding,
    read_stored,
)
from ledger.identity import IdentityRecord
from ledger.limits import HISTORY_HEIGHTS
from ledger.records import (
    ConstitutionRecord,
    FreezeRecord,
    IncidentRecord,
    Parameters,
    ProtocolRecord,
    ValidatorsRecord,
)

T = TypeVar("T")
PAGE_MAX = HISTORY_HEIGHTS
"""How many numbered records one call reads."""


def objects(view: View, kind: str) -> Verified[tuple[StoredObject, ...]]:
    """Give every ledger object of a kind that is kept as one (the constitution's, ``Cluster``), by name."""
    return view.read(lambda get: objects_of(get, kind, lambda stored: stored))


def roles(view: View) -> Verified[tuple[Role, ...]]:
    """Give every role, by name."""
    return view.read(lambda get: objects_of(get, "Role", read_role))


def bindings(view: View) -> Verified[tuple[RoleBinding, ...]]:
    """Give every role binding, by name."""
    return view.read(lambda get: objects_of(get, "RoleBinding", read_role_binding))


def rules(view: View) -> Verified[tuple[ApprovalRule, ...]]:
    """Give every approval rule, by name."""
    return view.read(lambda get: objects_of(get, "ApprovalRule", read_approval_rule))


def break_glasses(view: View) -> Verified[tuple[BreakGlass, ...]]:
    """Give every break-glass object, by name."""
    return view.read(lambda get: objects_of(get, "BreakGlass", read_break_glass))


def constitution(view: View) -> Verified[ConstitutionRecord]:
    """Give the record of the constitution in force."""
    return view.read(lambda get: required(get, statekeys.CONSTITUTION, records.read_constitution))


def identities(view: View) -> Verified[tuple[IdentityRecord, ...]]:
    """Give every identity of the ledger, by DID."""
    return view.read(_identities)


def clusters(view: View) -> Verified[tuple[str, ...]]:
    """Give the names of all clusters."""
    return view.read(lambda get: listing(get, statekeys.index_objects("Cluster")))


def parameters(view: View) -> Verified[Parameters]:
    """Give the ledger's parameters."""
    return view.read(lambda get: required(get, statekeys.PARAMETERS, records.read_parameters))


def validators(view: View) -> Verified[ValidatorsRecord | None]:
    """Give the validator set as the ledger wants it."""
    return view.read(lambda get: optional(get, statekeys.VALIDATORS, records.read_validators))


def protocol(view: View) -> Verified[ProtocolRecord | None]:
    """Give the version of the machine's rules in force, and the one planned."""
    return view.read(lambda get: optional(get, statekeys.PROTOCOL, records.read_protocol))


def freezes(view: View) -> Verified[tuple[FreezeRecord, ...]]:
    """Give every freeze, by name."""
    return view.read(freezes_of)


def incidents(view: View, *, newest: int = PAGE_MAX) -> Verified[tuple[IncidentRecord, ...]]:
    """Give the ``newest`` incidents, the newest first."""
    return view.read(lambda get: _incidents(get, min(newest, PAGE_MAX)))


def freezes_of(get: Get) -> tuple[FreezeRecord, ...]:
    """Give every freeze."""
    found = optional(get, statekeys.FREEZES, records.read_freezes)
    return () if found is None else found.freezes


def incident_of(get: Get, number: int) -> IncidentRecord:
    """Give an incident that another record names.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    key = statekeys.incident(number)
    found = required(get, key, records.read_incident)
    if found.number != number:
        raise unbound(key, found.number, number)
    return found


def count_of(get: Get, key: bytes) -> int:
    """Give a counter; an absent one is 0.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    return optional(get, key, records.read_count) or 0


def objects_of(get: Get, kind: str, read: Callable[[StoredObject], T]) -> tuple[T, ...]:
    """Give every ledger object of a kind, by name, read.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    return tuple(_object(get, kind, name, read) for name in listing(get, statekeys.index_objects(kind)))


def _object(get: Get, kind: str, name: str, read: Callable[[StoredObject], T]) -> T:
    key = statekeys.ledger_object(kind, name)
    stored = required(get, key, read_stored)
    if (stored.kind, stored.name) != (kind, name):
        raise unbound(key, f"{stored.kind} {stored.name}", f"{kind} {name}")
    return required(get, key, lambda _: read(stored))


def _identities(get: Get) -> tuple[IdentityRecord, ...]:
    found = []
    for did in listing(get, statekeys.INDEX_IDENTITIES):
        identity = required(get, statekeys.identity(did), identity_rules.read_identity)
        if identity.did != did:
            raise unbound(statekeys.identity(did), identity.did, did)
        found.append(identity)
    return tuple(found)


def _incidents(get: Get, newest: int) -> tuple[IncidentRecord, ...]:
    count = count_of(get, statekeys.INCIDENTS)
    return tuple(incident_of(get, n) for n in range(count, max(0, count - newest), -1))
