"""What a node says would become of a proposal, before it is made.

Owns the dry run's answer on this side: its digest, how it is shown. Promises that it is always told as the
node's word, and that what is proposed carries the digest of exactly the answer that was shown.
Source: docs/spec/ledger.md §2, §4.
"""

from __future__ import annotations

from dataclasses import dataclass

from conclave.client import Client
from conclave.command import Session
from conclave.home import Subject
from conclave.output import Output
from ledger import canonical
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.receipt import code_of
from ledger.types import JsonObject, sha256

WORD = "the answering node's word, not a proof"


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``node`` answered, and the SHA-256 (hex) of its canonical JSON."""

    value: JsonObject
    digest: str
    node: str

    @property
    def refusal(self) -> Refused | None:
        """The refusal that the proposal would meet; None if it would pass."""
        said, code = self.value["refusal"], code_of(self.value["code"])
        if said is None or code is None:
            return None
        texts = {name: str(said.get(name, "")) for name in ("got", "expected", "todo")}
        return Refused(code, **texts, node=self.node)

    def to_json(self) -> JsonObject:
        """Give it for programs."""
        return {"digest": self.digest, "proven": False, "node": self.node, "answer": self.value}


def ask(client: Client, question: JsonObject) -> Answer:
    """Ask the node. Raises as ``Client.ask``."""
    value = client.ask(question)
    code, refusal = value["code"], value["refusal"]
    is_known = isinstance(code, int) and code_of(code) is not None
    is_told = isinstance(refusal, dict) if code else refusal is None
    if not is_known or not is_told or not isinstance(value.get("requirement", {}), dict):
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID,
            got=value,
            expected="a code, its refusal and what is required",
        )
    return Answer(value, sha256(canonical.dump(value)).hex(), client.rpc.endpoint)


def ask_of_body(client: Client, speaker: Subject, body: bytes) -> Answer:
    """Ask what would become of an action. Raises as ``Client.ask``."""
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
