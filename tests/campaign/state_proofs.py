"""State proofs for the verification campaign: valid claims of several trees, and what a changed one may mean.

Owns ``StateCase`` and ``judged``. A claim is root, key, value (None: absent) and proof. Never draws.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from ledger.errors import ConclaveError
from ledger.pb.proof_pb2 import CommitmentProof
from state.proof import SPECS, parse_proof, verify_membership, verify_non_membership
from state.tree import Tree
from tests.vectors.state.shared import SHARED

_STATE = {b"key/%d" % number: b"value %d" % number for number in range(40)}
_OTHER = {b"key/%d" % number: b"other %d" % number for number in range(1, 41)}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a proof is said to prove."""

    root: bytes
    key: bytes
    value: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True)
class StateCase:
    """A claim that holds, and one of another tree."""

    name: str
    spec: str
    claim: Claim
    other: Claim


def state_cases() -> list[StateCase]:
    """Give claims of our own tree, and those that were published where the machine has them."""
    made = []
    for key in (b"key/0", b"key/7", b"key/39", b"absent", b"zz"):
        ours, theirs = _of(_STATE, key), _of(_OTHER, key)
        made.append(StateCase(f"smt {key.decode()}", "smt", ours, theirs))
    for spec in ("iavl", "tendermint"):
        paths = sorted((SHARED / "vectors" / "ics23" / spec).glob("*.json"))
        claims = [_published(json.loads(path.read_text())) for path in paths]
        made += [
            StateCase(f"{spec} {path.stem}", spec, claim, claims[(place + 1) % len(claims)])
            for place, (path, claim) in enumerate(zip(paths, claims, strict=True))
        ]
    return made


def _of(content: dict[bytes, bytes], key: bytes) -> Claim:
    tree = Tree.build(sorted(content.items()))
    proof = tree.prove(key, content.__getitem__).SerializeToString(deterministic=True)
    return Claim(tree.root, key, content.get(key), proof)


def _published(case: dict[str, str]) -> Claim:
    root, key, value, proof = (bytes.fromhex(case[name]) for name in ("root", "key", "value", "proof"))
    return Claim(root, key, value or None, proof)


def fields_of(message: Any) -> dict[str, Any]:
    """Give a proof message as plain dicts, lists, bytes and numbers."""
    made: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is None:
            made[field.name] = value
        elif isinstance(value, Message):
            made[field.name] = fields_of(value)
        else:
            made[field.name] = [fields_of(one) for one in value]
    return made


def proof_of(fields: Any) -> bytes:
    """Encode what ``fields_of`` gave.

    Raises:
        TypeError, ValueError: a value that its field cannot hold.
    """
    return CommitmentProof(**fields).SerializeToString(deterministic=True)


def judged(case: StateCase, claim: Claim) -> str:
    """Judge a changed claim: refused, why it still holds, or ``ACCEPTED`` for a hole."""
    try:
        proof = parse_proof(claim.proof)
        if claim.value is None:
            verify_non_membership(SPECS[case.spec], claim.root, proof, claim.key)
        else:
            verify_membership(SPECS[case.spec], claim.root, proof, claim.key, claim.value)
    except ConclaveError:
        return "refused"
    return _effect(case, claim, proof)


def _effect(case: StateCase, claim: Claim, proof: CommitmentProof) -> str:
    honest = case.claim
    if (claim.root, claim.value) != (honest.root, honest.value):
        return "ACCEPTED"
    true = parse_proof(honest.proof)
    if claim.value is None:
        if claim.key != honest.key and not _in_gap(case, claim.key, true):
            return "ACCEPTED"
        true.nonexist.key = proof.nonexist.key
        if true != proof:
            return "ACCEPTED"
        return (
            "another key in the same gap"
            if claim.key != honest.key
            else "the key written in a proof of absence"
        )
    return "ACCEPTED"


def _in_gap(case: StateCase, key: bytes, true: CommitmentProof) -> bool:
    """Tell whether a key lies between the two that the honest proof shows to be neighbours."""

    def order(one: bytes) -> bytes:
        return hashlib.sha256(one).digest() if case.spec == "smt" else one

    left, right = true.nonexist.left.key, true.nonexist.right.key
    return (not left or order(left) < order(key)) and (not right or order(key) < order(right))
