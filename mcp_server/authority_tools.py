"""Who there is and who may do what: identities, the constitution's objects, any one object, by name.

Promises that everything comes from a ``View``, and so is proven. Never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from consensus import ledger_reader
from consensus.evidence import optional, required
from consensus.listing import listing
from consensus.proposal_reader import proposal
from consensus.reader import View
from ledger import identity as identity_rules
from ledger import records, statekeys
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.types import JsonObject
from mcp_server.read_tools import Asked, Entry, release_object, stored_object, to_json, told

OBJECT_KINDS = {
    "roles": "Role",
    "bindings": "RoleBinding",
    "rules": "ApprovalRule",
    "breakGlasses": "BreakGlass",
}
SECTIONS = ("identities", *OBJECT_KINDS, "validators", "parameters", "constitution", "protocol")
KINDS = ("Release", "Cluster", "Identity", "Proposal", "Incident", *OBJECT_KINDS.values())


def authority(asked: Asked) -> Sequence[Entry]:
    """List a section of who may do what; arguments: section."""
    view, section = asked.view, asked.arguments["section"]
    if section == "identities":
        dids = view.read(lambda get: listing(get, statekeys.INDEX_IDENTITIES)).value
        return [partial(_identity, view, did) for did in dids]
    if section in OBJECT_KINDS:
        kind = OBJECT_KINDS[section]
        names = view.read(lambda get: listing(get, statekeys.index_objects(kind))).value
        return [partial(_stored, view, kind, name) for name in names]
    return [partial(lambda item: item, item) for item in _of_section(view, section)]


def _of_section(view: View, section: str) -> list[JsonObject]:
    if section == "validators":
        found = ledger_reader.validators(view).value
        return [] if found is None else [to_json(each) for each in found.validators]
    if section == "parameters":
        return [to_json(ledger_reader.parameters(view).value)]
    if section == "constitution":
        return [to_json(ledger_reader.constitution(view).value)]
    protocol = ledger_reader.protocol(view).value
    return [] if protocol is None else [to_json(protocol)]


def one_object(asked: Asked) -> Sequence[Entry]:
    """Give one object; arguments: kind, name, and of a release revision and object.

    Raises:
        Refused: OBJECT_UNKNOWN, RELEASE_UNKNOWN, REVISION_UNKNOWN, PROPOSAL_UNKNOWN, FIELD_UNKNOWN.
    """
    view, kind, name = asked.view, asked.arguments["kind"], asked.arguments["name"]
    if kind == "Release":
        return release_object(asked, name)
    for field in ("revision", "object"):
        if field in asked.arguments:
            raise Refused(
                Code.FIELD_UNKNOWN, got=field, expected="it with kind Release", field=f"arguments.{field}"
            )
    if kind == "Identity":
        return [partial(_identity, view, did_of(view, name))]
    if kind in ("Proposal", "Incident"):
        return [partial(_numbered, view, kind, name)]
    return [partial(_stored, view, kind, name)]


def did_of(view: View, name: str) -> str:
    """Find a subject's DID by its name.

    Raises:
        Refused: OBJECT_UNKNOWN.
    """
    found = view.read(lambda get: optional(get, statekeys.identity_name(name), records.read_did)).value
    if found is None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=name,
            expected="the name of a subject of the ledger",
            todo="list section identities",
        )
    return found


def identity_of(view: View, did: str) -> IdentityRecord:
    """Give a subject that an index or a name names.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    key = statekeys.identity(did)
    return view.read(lambda get: required(get, key, identity_rules.read_identity)).value


def _identity(view: View, did: str) -> JsonObject:
    found = identity_of(view, did)
    return {**to_json(found), "isActive": found.is_active}


def _stored(view: View, kind: str, name: str) -> JsonObject:
    return to_json(stored_object(view, kind, name))


def _numbered(view: View, kind: str, name: str) -> JsonObject:
    number = int(name) if name.isdecimal() and len(name) < 10 else 0
    if kind == "Proposal":
        return told(view, proposal(view, number).value)
    count = view.read(lambda get: ledger_reader.count_of(get, statekeys.INCIDENTS)).value
    if not 1 <= number <= count:
        raise Refused(Code.OBJECT_UNKNOWN, got=name, expected=f"an incident's number, 1 … {count}")
    return to_json(view.read(lambda get: ledger_reader.incident_of(get, number)).value)
