"""What ``approve`` and ``reject`` share: showing a proposal and signing a judgement of exactly it.

Promises that the digest that is signed is the digest of the verified body that was shown.
"""

from __future__ import annotations

import re
import sys

import click

from conclave import changes, dry_runs
from conclave.client import Client, connect
from conclave.command import Session
from conclave.output import to_yaml
from conclave.verbs.source_options import newest_manifests, targets_text
from consensus import release_reader
from consensus.reader import View
from ledger.actions import Proposal
from ledger.bodies import judgement_body
from ledger.changes import Change, Configure, Delete, Release, Rollback, Withdraw
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.records import ProposalRecord, state_at
from ledger.types import ActionKind, JsonObject

_DIGEST = re.compile("[0-9a-f]{64}")


def which(text: str) -> str | int:
    """Read a proposal's number or id.

    Raises:
        Refused: USAGE.
    """
    if text.isdecimal() and len(text) < 16:
        return int(text)
    if len(text) == 64 and not set(text) - set("0123456789abcdef"):
        return text
    raise Refused(
        Code.USAGE,
        got=text[:80],
        expected="a proposal's number or id (64 hex digits)",
        todo="see: conclave get proposals",
    )


def judge(session: Session, proposal: str, kind: ActionKind, reason: str, *, is_sure: bool) -> None:
    """Show a proposal and sign the judgement of it.

    Raises:
        ConclaveError: what reading, signing or the ledger refuse.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        view = client.view()
        record = release_reader.proposal(view, which(proposal)).value
        proposed = release_reader.proposed(view, record.id).value
        _show(session, client, view, record, proposed)
        word = "approve" if kind is ActionKind.APPROVAL else "reject"
        is_asked = session.output.is_table and sys.stdin.isatty() and not is_sure
        # What somebody has seen, or said yes to beforehand, may be signed; the ledger refuses anything else.
        required = _required_now(session, client, record) if is_asked or is_sure else record.requirement
        if is_asked:
            click.confirm(f"{word} as {speaker.name}?", abort=True, err=True)
        body = judgement_body(kind, record.id, record.digest, required, reason=reason)
        proven = client.say(speaker, body)
    receipt = proven.receipt
    document: JsonObject = {
        "proposal": record.id,
        "number": record.number,
        "state": receipt.state,
        "revision": receipt.revision,
        "height": proven.height,
        "signer": speaker.did,
    }
    if session.output.document(document):
        return
    state = f"proposal {record.number} is {receipt.state} at height {proven.height}"
    session.output.line(state + (f", revision {receipt.revision}" if receipt.revision else ""), "bold")


def _required_now(session: Session, client: Client, record: ProposalRecord) -> str:
    """Give the digest of what is required now: rules, or what a release has, may have changed since."""
    try:
        answer = dry_runs.ask(client, {"proposal": record.id})
    except (Refused, EnvironmentFault):
        return record.requirement
    digest = answer.value.get("requirement", {}).get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or digest == record.requirement:
        return record.requirement
    if session.output.is_table:
        session.output.line("what it needs has changed since; approvals from before count no more", "warn")
        dry_runs.show(session, answer)
    return digest


def _show(session: Session, client: Client, view: View, record: ProposalRecord, proposed: Proposal) -> None:
    if not session.output.is_table:
        return
    output = session.output
    proposer, state = client.home.name_of(record.proposer), state_at(record, view.height + 1)
    output.line(f"proposal {record.number} by {proposer}, {state.value}", "bold")
    output.line(f"digest {record.digest}")
    if proposed.reason:
        output.line(f"reason: {proposed.reason}")
    if proposed.dry_run:
        output.line(f"dry run {proposed.dry_run}")
    if proposed.break_glass:
        output.line(f"under break-glass {proposed.break_glass}: an incident will be made", "warn")
    _show_change(session, view, proposed.change)
    given = [client.home.name_of(entry.signer) for entry in record.approvals]
    output.line(f"approved so far by: {', '.join(given) or 'nobody'}")


def _show_change(session: Session, view: View, change: Change) -> None:
    output = session.output
    match change:
        case Release():
            old, _ = newest_manifests(view, change.name)
            where = targets_text({"clusters": list(change.clusters)} | change.spec)
            output.line(f"release {change.name} on {where}, from {change.provenance['renderer']}")
            changes.show(changes.compare(old, change.manifests), output, full=False)
        case Rollback():
            output.line(f"rollback of {change.release} to revision {change.to_revision}")
            show_rollback(session, view, change.release, change.to_revision)
        case Withdraw():
            output.line(f"withdraw {change.release}: nothing new starts", "warn")
        case Delete():
            fate = "its objects leave the clusters" if change.prune else "its objects stay"
            output.line(f"delete {change.release}: {fate}", "remove")
        case Configure():
            _show_objects(session, change)


def _show_objects(session: Session, change: Configure) -> None:
    output = session.output
    for removed in change.remove:
        output.line(f"- {removed.kind}/{removed.name}", "remove")
    for wanted in change.put:
        output.line(f"+ {wanted.kind}/{wanted.name}", "add")
        shown = {"labels": wanted.labels, "spec": wanted.spec} if wanted.labels else {"spec": wanted.spec}
        for line in to_yaml(shown).splitlines():
            output.line(f"    {line}")


def show_rollback(session: Session, view: View, name: str, to_revision: int) -> list[changes.Change]:
    """Show what going back would change; gives the changes."""
    record = release_reader.release_record(view, name).value
    old, _ = newest_manifests(view, name)
    target = release_reader.release(view, record.clusters[0], name, revision=to_revision).value
    found = changes.compare(old, list(target.manifests))
    if session.output.is_table:
        changes.show(found, session.output, full=False)
    return found
