"""The bytes of a proof file.

Owns its records, their one byte form and its limits. Promises that any bytes give the records they mean or
PROOF_FILE_INVALID, that one content has one byte form (what is read writes back the same), and that every
size is checked before the work. Believes nothing of what it reads. Source: docs/spec/proof-file.md.
"""

from __future__ import annotations

import base64
import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from consensus.answers import InclusionProof
from consensus.density import too_dense
from consensus.light.bisection import REQUESTS_MAX
from consensus.light.encoding import header_hash
from consensus.light.fields import Fields
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import HASH_BYTES, LightBlock
from ledger import canonical
from ledger.errors import Code, ConclaveError, VerificationFailed, caused
from ledger.limits import (
    CHAIN_ID_BYTES_MAX,
    ENVELOPE_BYTES_MAX,
    JSON_INTEGER_MAX,
    MIB,
    NAME_BYTES_MAX,
    STATE_KEY_BYTES_MAX,
)
from ledger.types import Json, JsonObject
from state.limits import PROOF_BYTES_MAX

FORMAT = "conclave-proof/1"
FILE_BYTES_MAX = 32 * MIB
"""Two releases of the largest size, each with its proof, and room for the rest."""
BLOCKS_MAX = REQUESTS_MAX
ANSWERS_MAX = 20_000
INCLUSIONS_MAX = 256
_AUNTS_MAX = 100
_BYTES_PER_COMMA_MIN = 16
_BYTES_PER_BRACKET_MIN = 64
"""What files hold is text of some length; denser structure would take the memory of many times its bytes."""


class Kind(enum.StrEnum):
    """What a file proves."""

    RELEASE = "release"
    PROPOSAL = "proposal"
    KEY = "key"
    HEADERS = "headers"


@dataclass(frozen=True, slots=True)
class Question:
    """What a file answers.

    Attributes:
        kind: of what.
        name: the release, the proposal's id, the state key; empty for headers.
        revision: of the release; None for everything else.
    """

    kind: Kind
    name: str = ""
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said of one key: ``value`` None where it is absent, and the ICS-23 proof."""

    key: bytes
    value: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where an envelope stands in the block of ``height``."""

    envelope: str
    height: int
    proof: InclusionProof


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof. Nothing in it is believed.

    Attributes:
        chain_id: the chain it speaks of.
        question: what it answers.
        blocks: light blocks, heights rising: from the root to the header that proves the answer.
        answers: what was said of every key that the answer needs, keys rising.
        inclusions: of envelopes in blocks, by envelope.
    """

    chain_id: str
    question: Question
    blocks: tuple[LightBlock, ...]
    answers: tuple[Answer, ...] = ()
    inclusions: tuple[Inclusion, ...] = ()

    @property
    def root_height(self) -> int:
        """The height of the block it begins from."""
        return self.blocks[0].height

    @property
    def target_height(self) -> int:
        """The height of the header that proves the answer."""
        return self.blocks[-1].height


def encode(file: ProofFile) -> bytes:
    """Give the file's bytes.

    Raises:
        VerificationFailed: PROOF_FILE_INVALID for more than a file may hold.
    """
    first = file.blocks[0]
    content = canonical.dump(
        {
            "answers": [_answer_json(answer) for answer in file.answers],
            "blocks": [_block_json(block) for block in file.blocks],
            "chainId": file.chain_id,
            "format": FORMAT,
            "from": {"hash": header_hash(first.header).hex(), "height": first.height},
            "inclusions": [_inclusion_json(inclusion) for inclusion in file.inclusions],
            "question": _question_json(file.question),
        }
    )
    if len(content) > FILE_BYTES_MAX:
        raise _invalid(f"{len(content)} bytes", f"at most {FILE_BYTES_MAX}")
    return content


def decode(content: bytes) -> ProofFile:
    """Read a file.

    Raises:
        VerificationFailed: PROOF_FILE_INVALID.
    """
    _check_density(content)
    try:
        value = canonical.load(content, bytes_max=FILE_BYTES_MAX)
        file = _read(Fields(value, "proof", code=Code.PROOF_FILE_INVALID))
        again = encode(file)
    except ConclaveError as error:
        if error.code is Code.PROOF_FILE_INVALID:
            raise
        raise caused(VerificationFailed, Code.PROOF_FILE_INVALID, error, **error.facts) from None
    if again != content:
        raise _invalid("another spelling of the same", "the one byte form of this content")
    return file


def _check_density(content: bytes) -> None:
    dense = too_dense(
        content, bytes_per_bracket_min=_BYTES_PER_BRACKET_MIN, bytes_per_comma_min=_BYTES_PER_COMMA_MIN
    )
    if dense:
        raise _invalid(dense, "a proof file")


def _read(fields: Fields) -> ProofFile:
    if fields.get("format") != FORMAT:
        raise fields.malformed("format", fields.get("format"), FORMAT)
    fields.only("answers", "blocks", "chainId", "format", "from", "inclusions", "question")
    blocks = tuple(parse_light_block(item) for item in fields.items("blocks", BLOCKS_MAX))
    if not blocks:
        raise fields.malformed("blocks", "none", "at least one")
    answers = [
        _read_answer(item, f"answers[{i}]") for i, item in enumerate(fields.items("answers", ANSWERS_MAX))
    ]
    inclusions = [
        _read_inclusion(item, f"inclusions[{i}]")
        for i, item in enumerate(fields.items("inclusions", INCLUSIONS_MAX))
    ]
    _rise(fields, "blocks", [block.height for block in blocks])
    _rise(fields, "answers", [answer.key.decode() for answer in answers])
    _rise(fields, "inclusions", [inclusion.envelope for inclusion in inclusions])
    return ProofFile(
        chain_id=fields.text("chainId", CHAIN_ID_BYTES_MAX),
        question=_read_question(fields.inner("question")),
        blocks=blocks,
        answers=tuple(answers),
        inclusions=tuple(inclusions),
    )


def _rise(fields: Fields, name: str, order: Sequence[Any]) -> None:
    for place, (one, other) in enumerate(itertools.pairwise(order)):
        if not one < other:
            raise fields.malformed(f"{name}[{place + 1}]", other, f"one after {one}")


def _read_question(fields: Fields) -> Question:
    fields.only("kind", "name", "revision")
    kind = fields.text("kind", 16)
    if kind not in list(Kind):
        raise fields.malformed("kind", kind, " | ".join(Kind))
    name, revision = "", None
    if kind == Kind.RELEASE:
        revision = fields.small("revision", JSON_INTEGER_MAX)
    if kind != Kind.HEADERS:
        name = fields.text("name", STATE_KEY_BYTES_MAX if kind == Kind.KEY else NAME_BYTES_MAX + 1)
    return Question(Kind(kind), name, revision)


def _question_json(question: Question) -> JsonObject:
    content: JsonObject = {"kind": str(question.kind)}
    if question.kind is not Kind.HEADERS:
        content["name"] = question.name
    if question.revision is not None:
        content["revision"] = question.revision
    return content


def _read_answer(item: Json, where: str) -> Answer:
    fields = Fields(item, where, code=Code.PROOF_FILE_INVALID)
    fields.only("key", "proof", "value")
    value = None if fields.get("value") is None else fields.base64("value", ENVELOPE_BYTES_MAX)
    if value == b"":
        raise fields.malformed("value", "nothing", "bytes, or null")
    key = fields.text("key", STATE_KEY_BYTES_MAX).encode()
    return Answer(key, value, fields.base64("proof", PROOF_BYTES_MAX))


def _answer_json(answer: Answer) -> JsonObject:
    value = None if answer.value is None else _base64(answer.value)
    return {"key": answer.key.decode(), "proof": _base64(answer.proof), "value": value}


def _read_inclusion(item: Json, where: str) -> Inclusion:
    fields = Fields(item, where, code=Code.PROOF_FILE_INVALID)
    fields.only("aunts", "envelope", "height", "index", "total")
    aunts = [
        Fields({"aunt": aunt}, f"{where}.aunts[{i}]", code=Code.PROOF_FILE_INVALID).hex("aunt", (HASH_BYTES,))
        for i, aunt in enumerate(fields.items("aunts", _AUNTS_MAX))
    ]
    total, index = (fields.small(name, JSON_INTEGER_MAX) for name in ("total", "index"))
    return Inclusion(
        envelope=fields.hex("envelope", (HASH_BYTES,)).hex(),
        height=fields.small("height", JSON_INTEGER_MAX),
        proof=InclusionProof(total, index, tuple(aunts)),
    )


def _inclusion_json(inclusion: Inclusion) -> JsonObject:
    proof = inclusion.proof
    return {
        "aunts": [aunt.hex() for aunt in proof.aunts],
        "envelope": inclusion.envelope,
        "height": inclusion.height,
        "index": proof.index,
        "total": proof.total,
    }


def _block_json(block: LightBlock) -> JsonObject:
    following = block.next_validators
    if block.header.next_validators_hash == block.header.validators_hash:
        following = None
    elif following is None:
        raise _invalid(f"no next set beside height {block.height}", "the next set, as it is another")
    return {
        "next_validators": None if following is None else validators_json(following),
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _invalid(got: str, expected: str) -> VerificationFailed:
    return VerificationFailed(
        Code.PROOF_FILE_INVALID, got=got, expected=expected, todo="export the proof again"
    )
