"""A subject's word to the ledger: asked about beforehand, then sealed over a fresh nonce, sent and proven.

Owns the joining of account, envelope and submission, and the reading of a node's dry run. Promises that
nothing is signed over a stale view, that the nonce is the one after the highest the ledger proves, and that
what a node says of a proposal is handed on as its word, of known form. Holds no key.
Source: docs/spec/ledger.md §1.3, §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.reader import VerifiedReader, View, check_fresh
from consensus.sources import Rpc
from consensus.submit import Patience, ProvenReceipt, submit
from ledger import account, canonical, shape, statekeys
from ledger.envelope import AnySigningKey, seal
from ledger.errors import Code, EnvironmentFault, Refused, caused
from ledger.limits import KIB, RPC_REQUEST_BYTES_MAX
from ledger.receipt import code_of
from ledger.types import JsonObject, sha256

NOT_AFTER_BLOCKS = 1000
"""How many blocks a person's envelope stays good for: over an hour of an idle chain."""
DRY_RUN_PATH = "/dry-run"
_QUESTION_BYTES_MAX = RPC_REQUEST_BYTES_MAX // 2 - 4 * KIB
"""A query carries its question in hex."""
_ANSWERED = ("code", "name", "refusal")
_OF_PROPOSALS = ("requirement", "operation", "risk", "clusters", "missing", "approvers", "state")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks.

    Attributes:
        did: the subject.
        keys: of its keys those that sign.
        not_after_blocks: for how many blocks what it says may be included.
        is_late: whether it takes a nonce below the window, which only a recovery may (ledger.md §1.3).
    """

    did: str
    keys: Sequence[AnySigningKey]
    not_after_blocks: int = NOT_AFTER_BLOCKS
    is_late: bool = False


def say(
    rpc: Rpc,
    reader: VerifiedReader,
    speaker: Speaker,
    body: bytes,
    *,
    patience: Patience | None = None,
) -> ProvenReceipt:
    """Sign ``body``, send it and give the proven receipt.

    Raises:
        Refused: the ledger's own refusal.
        VerificationFailed: STALE, and as ``submit``.
        EnvironmentFault: as ``submit``.
    """
    view = reader.at()
    check_fresh(view)
    return submit(rpc, reader, sealed(view, speaker, body), patience=patience)


def sealed(view: View, speaker: Speaker, body: bytes) -> bytes:
    """Give the envelope that says ``body``, over the nonce that is the speaker's next in ``view``."""
    used = view.read(lambda get: account.read(get(statekeys.account(speaker.did)))).value
    return seal(
        body,
        chain_id=view.chain_id,
        signer=speaker.did,
        nonce=account.next_nonce(used, late=speaker.is_late),
        not_after_height=view.height + speaker.not_after_blocks,
        key=list(speaker.keys),
    )


def ask(rpc: Rpc, question: JsonObject) -> JsonObject:
    """Ask a node whether an action would pass (docs/spec/ledger.md §4): its word, not a proof.

    Raises:
        Refused: BODY_TOO_LARGE; what the node's application answers.
        EnvironmentFault: RPC_ANSWER_INVALID, or the node does not answer.
    """
    data = canonical.dump(question)
    if len(data) > _QUESTION_BYTES_MAX:
        raise Refused(
            Code.BODY_TOO_LARGE, got=f"{len(data)} bytes", expected=f"at most {_QUESTION_BYTES_MAX}"
        )
    answer = rpc.abci_query(DRY_RUN_PATH, data, 0)
    if answer.code:
        raise Refused(
            code_of(answer.code) or Code.QUERY_INVALID,
            got=answer.log[:300],
            expected="an answer of the application",
        )
    try:
        return shape.fields(
            canonical.load(answer.value), "answer", required=_ANSWERED, optional=_OF_PROPOSALS
        )
    except Refused as refusal:
        raise caused(EnvironmentFault, Code.RPC_ANSWER_INVALID, refusal) from None


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


def dry_run(rpc: Rpc, question: JsonObject, node: str) -> Answer:
    """Ask a node, called ``node``, what would become of an action, or of a proposal that is open.

    Raises:
        Refused, EnvironmentFault: as ``ask``.
    """
    value = ask(rpc, question)
    code, refusal = value["code"], value["refusal"]
    is_known = isinstance(code, int) and code_of(code) is not None
    is_told = isinstance(refusal, dict) if code else refusal is None
    if not is_known or not is_told or not isinstance(value.get("requirement", {}), dict):
        raise EnvironmentFault(
            Code.RPC_ANSWER_INVALID, got=value, expected="a code, its refusal and what is required"
        )
    return Answer(value, sha256(canonical.dump(value)).hex(), node)
