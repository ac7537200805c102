"""``conclave audit``: the record of what models asked of an MCP server, verified, listed, exported.

Promises that everything is judged from files alone: no network client is loaded, and nothing is written.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conclave.command import CONTEXT, Session, VerbGroup, shared, verb
from conclave.errors import EXIT_VERIFICATION
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed

if TYPE_CHECKING:
    from mcp_server.audit.files import Checked
    from mcp_server.audit.records import Decision, Outcome, Record

AUDIT_FOLDER = "audit"
SHOWN_MAX = 10_000
_EXAMPLES = (
    "conclave audit verify",
    "conclave audit verify /backup/audit --key did:key:z6Mk…",
    "conclave audit verify --anchor-proof anchor.proof.json --genesis genesis.json",
    "conclave audit show --verdict refuse --last 20",
    "conclave audit export > audit.ndjson",
)


@click.group("audit", cls=VerbGroup, examples=_EXAMPLES, context_settings=CONTEXT)
@shared
def command() -> None:
    """Verify, list and export the audit of an MCP server's calls, offline."""


_FOLDERS = click.argument(
    "folders", metavar="[DIR]…", nargs=-1, type=click.Path(path_type=Path), required=False
)


@verb("verify", *_EXAMPLES[:3], "conclave audit verify --head 95986e3a…:21:0cf3c79d…")
@_FOLDERS
@click.option(
    "--anchor-proof",
    "proofs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A proof file of an anchor on the ledger; may be repeated.",
)
@click.option("--genesis", type=click.Path(path_type=Path), metavar="FILE", help="Judge proofs from it.")
@click.option("--trust-height", type=click.IntRange(min=1), metavar="H", help="Or from this header …")
@click.option("--trust-hash", metavar="HASH", help="… by its hash.")
@click.option("--at", metavar="TIME", help="Judge proofs as of then, UTC [now].")
@click.option("--head", "heads", multiple=True, metavar="LOG:COUNT:HASH", help="A head noted before.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Who must have signed: key id or did:key.")
@click.option("--any-key", is_flag=True, help="Do not judge whose key signed.")
def verify(session: Session, folders: tuple[Path, ...], **flags: Any) -> int:
    """Prove that nothing in audit logs was cut, changed, left out or moved.

    DIR is a log or a folder of logs [HOME/audit]. What lies before a head that the ledger has, or that you
    noted, cannot be cut or replaced even by whoever has the server's key; what lies before a signed head, not
    by anybody else. Without --key the signer must be a node of this home, or the key in node.pem beside the
    logs: whoever can replace that file too can replace all. Keep what this prints elsewhere and name it.

    Exits 0 if everything verifies, 2 for wrong usage, 3 if something does not verify, 4 if a file cannot be
    read.
    """
    from conclave import audit_report
    from conclave.verbs.verify import moment
    from mcp_server.audit.files import absent, check

    roots = {name: flags[name] for name in ("genesis", "trust_height", "trust_hash")}
    if not flags["proofs"] and any(value is not None for value in roots.values()):
        raise Refused(Code.USAGE, got="a root of trust", expected="it with --anchor-proof FILE")
    if flags["keys"] and flags["any_key"]:
        raise Refused(Code.USAGE, got="--key beside --any-key", expected="one of them")
    now_ns = moment(flags["at"])
    trust = audit_report.trust_of(
        flags["heads"], flags["proofs"], flags["keys"], roots, time.time_ns() if now_ns is None else now_ns
    )
    asked = _logs(session, folders)
    found, own = check(asked, trust, lambda _log, _record: None), audit_report.own_keys(session.home, asked)
    if not (flags["keys"] or flags["any_key"]):
        audit_report.pin(found, own)
    missing = absent(found, trust)
    error = audit_report.first_error(found, missing)
    if session.output.document(audit_report.document(found, missing)):
        return 0 if error is None else EXIT_VERIFICATION
    audit_report.show(session.output, found, own)
    if error is not None:
        raise _located(error, found)
    return 0


@verb("export", "conclave audit export > audit.ndjson", "conclave audit export /backup/audit --after 4711")
@_FOLDERS
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only records after this.")
def export(session: Session, folders: tuple[Path, ...], after: int) -> None:
    """Print every record as one line of JSON for a SIEM (docs/spec/mcp-audit.md §6), verified on the way.

    A record is printed once it was judged; the first that does not verify ends it with exit code 3.
    """
    from mcp_server.audit.files import Trust, check
    from mcp_server.audit.siem import event

    def each(checked: Checked, record: Record) -> None:
        header = checked.walk.header
        if header is not None and record.sequence > after:
            print(json.dumps(event(record, checked.walk.tip.hash, header), ensure_ascii=False))

    for folder in _logs(session, folders):
        found = check([folder], Trust(), each)
        if found[0].error is not None:
            raise _located(found[0].error, found)


@verb(
    "show",
    "conclave audit show --last 20",
    "conclave audit show --verdict refuse --since 2026-11-26T12:00:00Z",
    "conclave audit show --principal did:key:z6Mk… --name get_object -o json",
)
@_FOLDERS
@click.option("--principal", metavar="DID", help="Calls of this one.")
@click.option("--name", metavar="NAME", help="Calls of this tool, resource or prompt.")
@click.option("--verdict", type=click.Choice(["allow", "warn", "refuse", "suspend"]), help="Decided so.")
@click.option("--call", metavar="ID", help="This call.")
@click.option(
    "--arguments",
    "given",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With these arguments, JSON; needs the log's digest.key.",
)
@click.option("--since", metavar="TIME", help="From then on, UTC.")
@click.option("--until", metavar="TIME", help="Up to then, UTC.")
@click.option("--last", type=click.IntRange(1, SHOWN_MAX), default=50, metavar="N", help="The newest N [50].")
def show(session: Session, folders: tuple[Path, ...], last: int, given: Path | None, **filters: Any) -> None:
    """List calls: who asked what, what was decided and why, how it ended. Verified on the way."""
    from conclave.audit_report import digest_of
    from conclave.verbs.verify import moment
    from mcp_server.audit.files import Trust, check

    since, until = moment(filters["since"], "--since"), moment(filters["until"], "--until")
    rows: deque[tuple[Record, list[Outcome]]] = deque(maxlen=last)
    waiting: dict[str, list[Outcome]] = {}

    found_folders = _logs(session, folders)
    digests = None if given is None else {folder: digest_of(given, folder) for folder in found_folders}

    def each(checked: Checked, record: Record) -> None:
        from mcp_server.audit.records import Decision, Outcome, Started

        body = record.body
        wanted = None if digests is None else digests[checked.folder]
        if isinstance(body, Decision) and _is_asked(body, filters) and wanted in (None, body.arguments.hex):
            if (since is None or record.time_ns >= since) and (until is None or record.time_ns <= until):
                waiting[body.call] = []
                rows.append((record, waiting[body.call]))
        elif isinstance(body, Outcome) and body.call in waiting:
            waiting.pop(body.call).append(body)
        elif isinstance(body, Started):
            waiting.clear()

    found = check(found_folders, Trust(), each)
    items = [_row(record, outcomes) for record, outcomes in sorted(rows, key=lambda row: row[0].time_ns)]
    if not session.output.document({"items": items}):
        columns = ("time", "who", "call", "verdict", "reasons", "ended", "height", "µs")
        session.output.table(columns, [list(item.values())[1:] for item in items])
    error = next((checked.error for checked in found if checked.error is not None), None)
    if error is not None:
        raise _located(error, found)


def _is_asked(body: Decision, filters: dict[str, Any]) -> bool:
    told = {
        "principal": body.principal,
        "name": body.name,
        "verdict": body.verdict.value,
        "call": body.call,
    }
    return all(filters[name] in (None, value) for name, value in told.items())


def _row(record: Record, outcomes: list[Outcome]) -> dict[str, Any]:
    from consensus.light.timestamp import format_time

    body: Any = record.body
    outcome = outcomes[0] if outcomes else None
    reasons = [*body.reasons, *(outcome.reasons if outcome else ())]
    return {
        "id": body.call,
        "time": format_time(record.time_ns),
        "principal": body.principal,
        "call": f"{body.sort} {body.name}",
        "verdict": body.verdict.value,
        "reasons": list(dict.fromkeys(str(reason["name"]) for reason in reasons)),
        "ended": outcome.ended.value if outcome else "unknown",
        "height": outcome.height if outcome else None,
        "durationMicroseconds": outcome.duration_us if outcome else None,
    }


def _logs(session: Session, folders: Sequence[Path]) -> list[Path]:
    from mcp_server.audit.files import logs

    asked = folders or (session.home / AUDIT_FOLDER,)
    try:
        return list(dict.fromkeys(path for folder in asked for path in logs(folder)))
    except OSError as error:
        raise EnvironmentFault(Code.HOME_INVALID, got=error, expected="folders that can be read") from None


def _located(error: VerificationFailed, found: Sequence[Checked]) -> ConclaveError:
    folder = next((str(checked.folder) for checked in found if checked.error is error), None)
    if folder is not None:
        error.facts.setdefault("folder", folder)
    return error


for _verb in (verify, export, show):
    command.add_command(_verb)
