"""What a node says would become of a proposal, before it is made.

Owns the dry run's answer on this side: its digest, how it is shown. Promises that it is always told as the
node's word, and that what is proposed carries the digest of exactly the answer that was shown.
Source: docs/spec/ledger.md §2, §4.
"""

from __future__ import annotations

from conclave.client import Client
from conclave.command import Session
from conclave.home import Subject
from conclave.output import Output
from consensus.speaking import Answer, dry_run
from ledger import canonical
from ledger.types import JsonObject

WORD = "the answering node's word, not a proof"


def ask(client: Client, question: JsonObject) -> Answer:
    """Ask the node. Raises as ``speaking.dry_run``."""
    return dry_run(client.rpc, question, client.rpc.endpoint)


def ask_of_body(client: Client, speaker: Subject, body: bytes) -> Answer:
    """Ask what would become of an action. Raises as ``speaking.dry_run``."""
    return ask(client, {"signer": speaker.did, "body": canonical.load(body)})


def show(session: Session, answer: Answer, **more: str | None) -> None:
    """Print all of an answer; ``more`` is what programs are told besides."""
    output, value = session.output, answer.value
    if output.document(
        {**value, "proven": False, "note": WORD, "node": answer.node, "digest": answer.digest, **more}
    ):
        return
    output.line(f"{answer.node} says ({WORD}):", "warn")
    refusal = answer.refusal
    if refusal is not None:
        output.line(f"it would be refused: {refusal.code.name}", "bad")
        for field in ("got", "expected", "todo"):
            if value["refusal"].get(field):
                output.line(f"  {field}: {value['refusal'][field]}")
        return
    state = f"; it is {value['state']}" if "state" in value else ""
    output.line(f"it passes every rule a proposal has to pass{state}", "good")
    if "requirement" not in value:
        return
    rows = [[key, _text(item)] for key, item in sorted(value["requirement"].items())]
    rows += [[key, _text(value.get(key))] for key in ("operation", "risk", "clusters")]
    output.table(["requirement", "value"], rows)
    show_missing(output, answer)
    for name, item in more.items():
        output.line(f"{name}: {item or 'none'}")


def show_missing(output: Output, answer: Answer) -> None:
    """Print for people what is still missing, and who may give it."""
    missing = answer.value.get("missing")
    still = {key: value for key, value in missing.items() if value} if isinstance(missing, dict) else {}
    output.line(f"missing: {_text(still) or 'nothing'}")
    output.line(f"may approve: {_text(answer.value.get('approvers')) or 'nobody'}")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return "" if value is None else str(value)
