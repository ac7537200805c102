"""What happened, by whom and when, as far as the ledger's newest records tell it.

Owns the search over proposals, judgements, incidents, freezes and identity changes. Promises that everything
comes from a ``View``, in one order, and that what was not looked at is told. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from consensus import ledger_reader, release_reader
from consensus.listing import listing
from consensus.reader import View
from ledger import shape, statekeys
from ledger.errors import Code, Refused
from ledger.records import ProposalRecord
from ledger.types import JsonObject
from mcp_server.authority_tools import did_of, identity_of
from mcp_server.read_tools import Asked, Entry, who

SEARCHED_MAX = ledger_reader.PAGE_MAX
"""Newest proposals and incidents that are looked at."""


def search(asked: Asked) -> Sequence[Entry]:
    """List events, the newest first; arguments: subject, release, fromHeight, toHeight.

    Raises:
        Refused: OBJECT_UNKNOWN for a subject the ledger does not know.
    """
    view, arguments = asked.view, asked.arguments
    subject = arguments.get("subject")
    did = None if subject is None else _subject(view, subject)
    low, high = arguments.get("fromHeight", 0), arguments.get("toHeight", view.height)
    release = arguments.get("release")
    found = [
        event
        for event in _events(view, did)
        if low <= event["height"] <= high
        and did in (None, event.get("by"))
        and release in (None, event.get("release"))
    ]
    found.sort(key=_order)
    return [partial(_named, view, event) for event in found]


def _subject(view: View, subject: str) -> str:
    if not subject.startswith("did:"):
        return did_of(view, subject)
    did = shape.did(subject, "arguments.subject")
    if view.get(statekeys.identity(did)).value is None:
        raise Refused(
            Code.OBJECT_UNKNOWN, got=did, expected="a subject of the ledger", todo="list section identities"
        )
    return did


def coverage(asked: Asked) -> str | None:
    """Tell what was not looked at; None where nothing was left out."""
    view = asked.view
    counts = view.read(lambda get: [ledger_reader.count_of(get, key) for key in _COUNTED]).value
    more = "" if "subject" in asked.arguments or len(_subjects(view)) <= SEARCHED_MAX else ", some identities"
    if max(counts) <= SEARCHED_MAX and not more:
        return None
    return f"only the newest {SEARCHED_MAX} of {counts[0]} proposals and of {counts[1]} incidents{more}"


def _order(event: JsonObject) -> tuple[int, str, int, str]:
    return -event["height"], event["event"], event.get("number") or 0, event.get("by") or ""


_COUNTED = (statekeys.PROPOSALS, statekeys.INCIDENTS)


def _named(view: View, event: JsonObject) -> JsonObject:
    by = event.get("by")
    return event if by is None else {**event, "by": who(view, by), "did": by}


def _events(view: View, did: str | None) -> Iterator[JsonObject]:
    for record in release_reader.proposals(view, newest=SEARCHED_MAX).value:
        yield from _of_proposal(record)
    for incident in ledger_reader.incidents(view, newest=SEARCHED_MAX).value:
        yield {
            "event": f"incident {incident.kind.value}",
            "height": incident.height,
            "number": incident.number,
            "release": incident.release,
            "cluster": incident.cluster,
            "by": incident.subject,
            "reason": incident.reason,
        }
    for freeze in ledger_reader.freezes(view).value:
        yield {
            "event": "freeze",
            "height": freeze.height,
            "name": freeze.name,
            "by": freeze.by,
            "reason": freeze.reason,
        }
    for subject in _subjects(view) if did is None else (did,):
        identity = identity_of(view, subject)
        yield {
            "event": "identity",
            "height": identity.height,
            "by": identity.did,
            "version": identity.version,
        }


def _subjects(view: View) -> Sequence[str]:
    return view.read(lambda get: listing(get, statekeys.INDEX_IDENTITIES, limit=SEARCHED_MAX + 1)).value


def _of_proposal(record: ProposalRecord) -> Iterator[JsonObject]:
    about: JsonObject = {"number": record.number, "release": record.change.release}
    operation = record.change.operation
    yield {
        "event": "proposed",
        "height": record.height,
        "by": record.proposer,
        "operation": operation,
        **about,
    }
    for word, judgements in (("approved", record.approvals), ("rejected", record.rejections)):
        for judgement in judgements:
            yield {"event": word, "height": judgement.height, "by": judgement.signer, **about}
    if record.final_height is not None:
        yield {"event": f"final {record.state.value}", "height": record.final_height, **about}
