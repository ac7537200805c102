"""A proof file over MCP: what ``conclave verify`` checks with no network.

Promises that a file is told of only after it was judged as a stranger would, and goes into an answer only
where nothing in it is what other answers show a digest of. Never writes it anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from consensus import release_reader
from consensus.proof_file.export import Exported, export
from consensus.proof_file.form import Kind, Question, decode
from consensus.trust_store import TrustRoot
from ledger import canonical, envelope
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.limits import ENVELOPE_BYTES_MAX, KIB
from ledger.types import JsonObject, sha256
from mcp_server.pruning import withholds
from mcp_server.read_tools import Asked, Entry

INLINE_BYTES_MAX = 256 * KIB
"""A proof file that goes into an answer; a larger one is written by ``conclave export proof``."""
KINDS = tuple(kind.value for kind in Kind)


def prove(asked: Asked) -> Sequence[Entry]:
    """Give a proof file, or what it would be; arguments: what, name, revision, inline."""
    return [lambda: _prove(asked)]


def _prove(asked: Asked) -> JsonObject:
    question = _question(asked)
    exported = _export(asked, question)
    judged = exported.judged
    first, last = judged.headers[0], judged.headers[-1]
    found: JsonObject = {
        "question": f"{question.kind.value}/{question.name}" if question.name else question.kind.value,
        "revision": question.revision,
        "bytes": len(exported.content),
        "sha256": sha256(exported.content).hex(),
        "from": {"height": first.height, "hash": first.hash.hex()},
        "provenBy": {"height": last.height, "hash": last.hash.hex()},
        "verify": f"conclave verify FILE --trust-height {first.height} --trust-hash {first.hash.hex()}",
    }
    if not asked.arguments.get("inline"):
        return found | {"export": _command(question)}
    if len(exported.content) > INLINE_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{len(exported.content)} bytes",
            expected=f"a file of at most {INLINE_BYTES_MAX} bytes",
            todo=_command(question),
        )
    _check_shown(exported.content, question)
    return found | {"proof": exported.content.decode()}


def _check_shown(content: bytes, question: Question) -> None:
    """Refuse a file with anything that no other tool would show: what is signed cannot be cleaned.

    Raises:
        Refused: SECRET_FOUND.
    """
    if any(answer.value is not None and _is_withheld(answer.value) for answer in decode(content).answers):
        raise Refused(
            Code.SECRET_FOUND,
            got="what looks like a secret in what is proven",
            expected="a file of what other tools show whole",
            todo=f"leave `inline` out; a person runs: {_command(question)}",
            field="arguments.inline",
        )


def _is_withheld(value: bytes) -> bool:
    with contextlib.suppress(Refused):
        value = envelope.decode(value).body
    try:
        return withholds(canonical.load(value, bytes_max=ENVELOPE_BYTES_MAX))
    except Refused:
        return withholds(value.decode(errors="replace"))


def _question(asked: Asked) -> Question:
    view, arguments = asked.view, asked.arguments
    kind, name = Kind(arguments["what"]), arguments.get("name", "")
    if (kind is Kind.HEADERS) != (not name):
        raise Refused(
            Code.FIELD_INVALID,
            got="a name too many or too few",
            expected="a name, unless headers alone are proven",
            field="arguments.name",
        )
    if "revision" in arguments and kind is not Kind.RELEASE:
        raise Refused(
            Code.FIELD_UNKNOWN, got="revision", expected="it with a release", field="arguments.revision"
        )
    if kind is Kind.RELEASE:
        newest = release_reader.release_record(view, name).value.revision
        return Question(kind, name, arguments.get("revision", newest))
    if kind is Kind.PROPOSAL and len(name) < 10 and name.isdecimal():
        return Question(kind, release_reader.proposal(view, int(name)).value.id)
    return Question(kind, name)


def _command(question: Question) -> str:
    what = f"{question.kind.value}/{question.name}" if question.name else question.kind.value
    revision = "" if question.revision is None else f" --revision {question.revision}"
    return f"conclave export proof {what}{revision} -o FILE"


def _export(asked: Asked, question: Question) -> Exported:
    source, view = asked.source, asked.view
    target, now_ns = view.height + 1, view.time_ns + view.age_ns
    try:
        return export(source.rpc, source.root, question, target, now_ns)
    except (VerificationFailed, EnvironmentFault) as failed:
        # As ``conclave export`` does: a root too old, or a block no longer there, and a later header serves.
        if failed.code not in (Code.TRUST_EXPIRED, Code.RPC_REFUSED):
            raise
    root = TrustRoot.at(source.root.chain_id, target, source.reader.header(target).hash)
    return export(source.rpc, root, question, target, now_ns)
