"""Finding a subject of the ledger by the name or DID a person typed.

Promises that what is found was proven, and is the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from consensus.evidence import required, unbound
from consensus.reader import View
from ledger import records, shape, statekeys
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord, read_identity

Get = Callable[[bytes], bytes | None]


def person(view: View, name: str) -> IdentityRecord:
    """Give an identity by name or DID.

    Raises:
        Refused: NAME_UNKNOWN; FIELD_INVALID for what can be neither.
        VerificationFailed: LEDGER_RECORD_INVALID.
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


def _person(get: Get, name: str) -> IdentityRecord | None:
    if name.startswith("did:"):
        did = shape.did(name, "NAME")
        if get(statekeys.identity(did)) is None:
            return None
    else:
        key = statekeys.identity_name(shape.name(name, "NAME"))
        if get(key) is None:
            return None
        did = required(get, key, records.read_did)
    found = required(get, statekeys.identity(did), read_identity)
    if found.did != did or name not in {did, found.name}:
        raise unbound(statekeys.identity(did), f"{found.name}, {found.did}", f"{name}, {did}")
    return found
