"""``conclave export``: what the ledger says, with its proof, in one file for somebody without a wire.

Promises that a file is written only after it was judged as a stranger would, and whole or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conclave.command import CONTEXT, Session, VerbGroup, shared, verb
from conclave.output import FORMATS, Output
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed, unwritable

if TYPE_CHECKING:
    from conclave.client import Client
    from consensus.proof_file.export import Exported
    from consensus.proof_file.form import Question
    from consensus.reader import View

_EXAMPLES = (
    "conclave export proof release/web --revision 7 -o web-7.proof.json",
    "conclave export proof proposal/12 -o 12.proof.json",
    "conclave export proof Role/operators -o operators.proof.json",
    "conclave export proof headers --from 100 -o headers.proof.json -o json",
)


@click.group("export", cls=VerbGroup, examples=_EXAMPLES, context_settings=CONTEXT)
@shared
def command() -> None:
    """Write what the ledger says, with its proof, into a file."""


def _outputs(ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> Path:
    files = [value for value in values if value not in FORMATS]
    for value in values:
        if value in FORMATS:
            ctx.obj.output = Output(value)
    if len(files) != 1:
        raise click.UsageError("name one file to write with -o FILE", ctx)
    return Path(files[0])


@verb(
    "proof",
    *_EXAMPLES,
    output=click.option(
        "-o",
        "--output",
        "to",
        multiple=True,
        metavar="FILE|FORMAT",
        callback=_outputs,
        help="The file to write; beside it json or yaml for what is printed.",
    ),
)
@click.argument("what", metavar="KIND/NAME|headers")
@click.option("--revision", type=click.IntRange(min=1), metavar="N", help="Of a release [the newest].")
@click.option(
    "--from", "from_", type=click.IntRange(min=1), metavar="HEIGHT", help="Begin here [the root of trust]."
)
def proof(session: Session, what: str, revision: int | None, from_: int | None, to: Path) -> None:
    """Write a proof that conclave verify FILE checks with no network.

    What to prove: release/NAME (who approved it, and what), proposal/NUMBER, identity/NAME, KIND/NAME for a
    ledger object such as Role/operators or Cluster/east, key/STATE-KEY, or headers alone.
    """
    from conclave.client import connect

    with connect(session) as client:
        view = client.view()
        question = _question(client, view, what, revision)
        exported = _export(client, view, question, from_)
    _write(to, exported.content)
    _tell(session, exported, to)


def _question(client: Client, view: View, what: str, revision: int | None) -> Question:
    from conclave.verbs.judge import which
    from consensus import release_reader
    from consensus.proof_file.form import Kind, Question
    from ledger import statekeys

    kind, _, name = what.partition("/")
    if revision is not None and kind != Kind.RELEASE:
        raise Refused(Code.USAGE, got="--revision", expected="it with a release", todo="leave it out")
    if kind == Kind.HEADERS and not name:
        return Question(Kind.HEADERS)
    if not name:
        raise Refused(Code.USAGE, got=what, expected="KIND/NAME, or headers", todo="see --help")
    if kind == Kind.RELEASE:
        newest = release_reader.release_record(view, name).value.revision
        return Question(Kind.RELEASE, name, revision or newest)
    if kind == Kind.PROPOSAL:
        return Question(Kind.PROPOSAL, release_reader.proposal(view, which(name)).value.id)
    if kind == Kind.KEY:
        return Question(Kind.KEY, name)
    if kind == "identity":
        did = name if name.startswith("did:") else client.home.subject(name).did
        return Question(Kind.KEY, statekeys.identity(did).decode())
    return Question(Kind.KEY, statekeys.ledger_object(kind, name).decode())


def _export(client: Client, view: View, question: Question, from_: int | None) -> Exported:
    """Export from the height named, else from this home's root of trust, else from the newest header."""
    from conclave import client as clients
    from consensus.proof_file.export import export
    from consensus.trust_store import TrustRoot

    target, now_ns = view.height + 1, view.time_ns + view.age_ns

    def root_at(height: int) -> TrustRoot:
        return TrustRoot.at(client.home.chain_id, height, client.reader.header(height).hash)

    if from_ is not None:
        if from_ > target:
            raise Refused(Code.HEIGHT_NOT_AVAILABLE, got=from_, expected=f"a height up to {target}")
        return export(client.rpc, root_at(from_), question, target, now_ns)
    try:
        return export(client.rpc, clients.trust_root(client.home), question, target, now_ns)
    except (VerificationFailed, EnvironmentFault) as failed:
        # Where the root is older than the trusting period, or the node no longer has its block, whoever
        # verifies has to name a later header anyway.
        if failed.code not in (Code.TRUST_EXPIRED, Code.RPC_REFUSED):
            raise
    return export(client.rpc, root_at(target), question, target, now_ns)


def _write(to: Path, content: bytes) -> None:
    staged = to.with_name(f"{to.name}.new")
    try:
        staged.write_bytes(content)
        staged.replace(to)
    except OSError as error:
        raise unwritable(error, "a place to write the file to", file=str(to)) from None


def _tell(session: Session, exported: Exported, to: Path) -> None:
    judged = exported.judged
    first, last = judged.headers[0], judged.headers[-1]
    document: dict[str, Any] = {
        "file": str(to),
        "bytes": len(exported.content),
        "from": {"height": first.height, "hash": first.hash.hex()},
        "provenBy": {"height": last.height, "hash": last.hash.hex()},
        "fromGenesis": judged.root.hash is None,
    }
    if session.output.document(document):
        return
    session.output.line(f"{to}: {len(exported.content)} bytes, proven by block {last.height}", "bold")
    if judged.root.hash is None:
        session.output.line(f"verify it with: conclave verify {to} --genesis genesis.json")
    for header in (first, last) if first.height != last.height else (first,):
        how = f"--trust-height {header.height} --trust-hash {header.hash.hex()}"
        session.output.line(f"verify it with: conclave verify {to} {how}")


command.add_command(proof)
