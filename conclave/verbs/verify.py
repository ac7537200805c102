"""``conclave verify``: a release or proposal of the running ledger, or a proof in a file, checked again.

Promises that a file is judged with nothing but the file and the root of trust that was named: no network
client is even loaded, and nothing is read from or written to a home.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from conclave.command import Session, verb
from conclave.errors import exit_code, to_json
from conclave.files import read_file
from ledger.errors import Code, ConclaveError, Refused

_ONLINE = ("release", "proposal")


def _complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    del context, parameter
    words = [CompletionItem(word) for word in _ONLINE if word.startswith(typed)]
    return words or [CompletionItem(typed, type="file")]


@verb(
    "verify",
    "conclave verify web-7.proof.json --genesis genesis.json",
    "conclave verify web-7.proof.json --trust-height 4711 --trust-hash $HASH -o json",
    "conclave verify web-7.proof.json --genesis genesis.json --at 2026-11-26T12:00:00Z",
    "conclave verify release guestbook --revision 1",
    "conclave verify proposal 1",
)
@click.argument("what", metavar="FILE|release|proposal", shell_complete=_complete)
@click.argument("name", metavar="[NAME|NUMBER|ID]", required=False)
@click.option("--revision", type=click.IntRange(min=1), metavar="N", help="Of the release [the newest].")
@click.option("--genesis", type=click.Path(path_type=Path), metavar="FILE", help="Trust its validators.")
@click.option("--trust-height", type=click.IntRange(min=1), metavar="H", help="Trust this header …")
@click.option("--trust-hash", metavar="HASH", help="… by its hash.")
@click.option("--at", metavar="TIME", help="Judge as it stood then, UTC [now].")
def command(session: Session, what: str, name: str | None, revision: int | None, **flags: Any) -> int:
    """Check a proof file, offline; or a release or proposal of the running ledger, from this home's genesis.

    FILE is what conclave export proof wrote. It is judged from a root of trust that you name: the genesis
    file, or a header that somebody you trust read to you (conclave trust). A file proves what stood at its
    newest header. With --at it is judged as if that were the present: right for a file known to be that old.

    Exits 0 if everything verifies, 1 if it was not approved or does not exist, 2 for wrong usage, 3 if
    something does not verify, 4 if a file cannot be read.
    """
    given = [option for option, value in flags.items() if value is not None]
    if name is not None and what in _ONLINE:
        if given or (revision is not None and what == "proposal"):
            raise Refused(Code.USAGE, got="options of another kind", todo="see: conclave verify --help")
        from conclave.verbs.verify_ledger import verify_ledger

        return verify_ledger(session, what, name, revision)
    if name is not None or revision is not None:
        raise Refused(
            Code.USAGE,
            got=f"{what} {name or '--revision'}",
            expected="a proof file alone, or release NAME, or proposal NUMBER",
            todo="see: conclave verify --help",
        )
    return _verify_file(session, Path(what), flags)


def _verify_file(session: Session, path: Path, flags: dict[str, Any]) -> int:
    from conclave import proof_report
    from consensus.proof_file.form import FILE_BYTES_MAX, decode
    from consensus.proof_file.judge import judge

    at_ns = moment(flags["at"])
    try:
        file = decode(read_file(path, FILE_BYTES_MAX))
        root = proof_report.root_of(
            flags["genesis"], flags["trust_height"], flags["trust_hash"], file.chain_id
        )
        try:
            judged = judge(file, root, time.time_ns() if at_ns is None else at_ns)
        except ConclaveError as error:
            raise proof_report.explained(error, file) from None
    except ConclaveError as error:
        if error.code is Code.USAGE or session.output.is_table:
            raise
        session.output.document({"verdict": error.code.name, "error": to_json(error)})
        return exit_code(error)
    if not session.output.document(proof_report.document(judged, is_past=at_ns is not None)):
        proof_report.show(session.output, judged, is_past=at_ns is not None)
    return 0


def moment(text: str | None, field: str = "--at") -> int | None:
    """Read a time that a person typed, into nanoseconds since the epoch; None where none was.

    Raises:
        Refused: USAGE.
    """
    from consensus.light.timestamp import parse_time

    try:
        return None if text is None else parse_time(text)
    except ConclaveError as error:
        raise Refused(
            Code.USAGE, got=error.got, expected="a time such as 2026-11-26T12:00:00Z", field=field
        ) from None
