"""``conclave explain``: would this pass, and what is still missing?

Promises to say that the answer is the node's word: nothing of it is proven, and nothing is changed by asking.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conclave.client import Client, connect
from conclave.command import Session, verb
from conclave.verbs.judge import which
from conclave.verbs.proposing import proposal_options
from conclave.verbs.source_options import change_of, source_options
from consensus import release_reader
from ledger import canonical
from ledger.bodies import proposal_body
from ledger.errors import Refused
from ledger.types import JsonObject

_WORD = "the answering node's word, not a proof"


@verb(
    "explain",
    "conclave explain 1",
    "conclave explain examples/guestbook --as alice",
    "conclave explain examples/constitution --as scout -o json",
)
@source_options
@proposal_options
def command(session: Session, source: Path, *, reason: str, break_glass: str | None, **flags: Any) -> int:
    """Ask the node whether a proposal, or a source if proposed, would pass, and what it would need.

    SOURCE is what propose takes, or a proposal's number or id. The answer is the node's word, not a proof:
    verify checks what is proven. Exits 1 if it would be refused.
    """
    with connect(session) as client:
        number = _number(source)
        if number is not None:
            identifier = release_reader.proposal(client.view(), number).value.id
            question: JsonObject = {"proposal": identifier}
        else:
            speaker = client.home.speaker(session.as_name)
            change, against = change_of(client, client.view(), source, flags)
            body = proposal_body(change, reason=reason, against=against, break_glass=break_glass)
            question = {"signer": speaker.did, "body": canonical.load(body)}
        answer = client.ask(question)
        _show(session, client, answer)
    return 0 if answer["code"] == 0 else 1


def _number(source: Path) -> str | int | None:
    if source.exists():
        return None
    try:
        return which(str(source))
    except Refused:
        return None


def _show(session: Session, client: Client, answer: JsonObject) -> None:
    output = session.output
    if output.document({**answer, "proven": False, "note": _WORD, "node": client.rpc.endpoint}):
        return
    output.line(f"{client.rpc.endpoint} says ({_WORD}):", "warn")
    refusal = answer["refusal"]
    if isinstance(refusal, dict):
        output.line(f"it would be refused: {answer['name']}", "bad")
        for field in ("got", "expected", "todo"):
            if refusal.get(field):
                output.line(f"  {field}: {refusal[field]}")
        return
    state = f"; it is {answer['state']}" if "state" in answer else ""
    output.line(f"it passes every rule a proposal has to pass{state}", "good")
    if "requirement" not in answer:
        return
    rows = [[key, _text(value)] for key, value in sorted(answer["requirement"].items())]
    rows += [[key, _text(answer.get(key))] for key in ("operation", "risk", "clusters")]
    output.table(["requirement", "value"], rows)
    missing = answer.get("missing")
    still = {key: value for key, value in missing.items() if value} if isinstance(missing, dict) else {}
    output.line(f"missing: {_text(still) or 'nothing'}")
    output.line(f"may approve: {_text(answer.get('approvers')) or 'nobody'}")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return "" if value is None else str(value)
