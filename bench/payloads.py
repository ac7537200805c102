"""Transactions of an exact size for both sides of P1, and the genesis that admits ours.

Owns what is sent. Promises that every transaction of ours is a whole signed proposal the ledger accepts, and
that the peer's has the same number of bytes. Nothing here is timed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nacl import signing

from ledger import envelope, keys, standard
from ledger.authority.constitution import Constitution
from ledger.authority.objects import StoredObject, read_approval_rule
from ledger.authority.requirement import requirement
from ledger.authority.scope import Operation, Risk, Scope, touches_of_release
from ledger.bodies import judgement_body, release_body, rollback_body
from ledger.limits import ENVELOPES_PER_WINDOW_MAX, OPEN_PROPOSALS_MAX, PROPOSAL_TTL_BLOCKS_MAX
from ledger.types import ActionKind, JsonObject

CHAIN_ID = "p1"
RELEASE = "r"
CLUSTER = "c"
SIGNERS = 64
"""Each may have ``OPEN_PROPOSALS_MAX`` open proposals."""
NOT_AFTER = 100_000
FIRST_NONCE = 128
"""Below are the nonces of the setup; from here to 16383 a nonce takes two bytes."""

Maker = Callable[[int], bytes]
"""Gives a body with that much padding."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A human of the bench's ledger (``envelope.SigningKey``)."""

    private: signing.SigningKey

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        return bytes(self.private.verify_key)

    @property
    def key_id(self) -> str:
        """The key id in envelopes."""
        return keys.key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Give the 64-byte signature."""
        return self.private.sign(message).signature

    def seal(self, body: bytes, nonce: int) -> bytes:
        """Give the envelope of ``body``."""
        did = keys.did_key(self.public)
        return envelope.seal(
            body, chain_id=CHAIN_ID, signer=did, nonce=nonce, not_after_height=NOT_AFTER, key=self
        )


def signers() -> tuple[Signer, ...]:
    """Give the humans of the ledger, the same in every run."""
    return tuple(Signer(signing.SigningKey(bytes([i + 1]) * 32)) for i in range(SIGNERS))


def app_state() -> JsonObject:
    """Give genesis objects: the signers in two organisations, one cluster, the rule of two."""
    identities = [
        {
            "did": keys.did_key(signer.public),
            "name": f"human{i}",
            "kind": "human",
            "organisation": "ab"[i % 2],
            "cluster": None,
        }
        for i, signer in enumerate(signers())
    ]
    return {
        "parameters": {
            "imageDigestRequired": True,
            "proposalTtlBlocks": PROPOSAL_TTL_BLOCKS_MAX,
            "openProposalsMax": OPEN_PROPOSALS_MAX,
            "envelopesPerWindowMax": ENVELOPES_PER_WINDOW_MAX,
        },
        "identities": identities,
        "objects": _objects(),
        "clusters": [{"name": CLUSTER}],
    }


def setup() -> tuple[bytes, ...]:
    """Give the transactions that make revision 1 of the release, in order: proposal, two approvals."""
    proposer, first, second = signers()[:3]
    proposal = proposer.seal(release_body(_release(1)), 1)
    opened = envelope.decode(proposal)
    body = judgement_body(ActionKind.APPROVAL, envelope.envelope_id(opened), opened.digest, _required())
    return proposal, first.seal(body, 1), second.seal(body, 1)


def proposals(count: int, size: int) -> list[bytes]:
    """Give ``count`` signed proposals of ``size`` bytes each, one contiguous part a signer."""
    everyone = signers()
    txs: list[bytes] = []
    for i, signer in enumerate(everyone):
        part = (i + 1) * count // len(everyone) - i * count // len(everyone)
        body = _body(signer, size)
        txs += [signer.seal(body, FIRST_NONCE + n) for n in range(part)]
    assert {len(tx) for tx in txs} == {size}, sorted({len(tx) for tx in txs})
    return txs


def kvstore(count: int, size: int) -> list[bytes]:
    """Give ``count`` distinct ``key=value`` transactions of ``size`` bytes each."""
    txs = []
    for n in range(count):
        key = hashlib.sha256(struct.pack(">Q", n)).hexdigest().encode()
        txs.append(key + b"=" + b"v" * (size - len(key) - 1))
    return txs


def write(path: Path, txs: Iterable[bytes]) -> None:
    """Write the load driver's file: each transaction after its big-endian 4-byte length."""
    with path.open("wb") as file:
        for tx in txs:
            file.write(struct.pack(">I", len(tx)) + tx)


def _objects() -> list[JsonObject]:
    return standard.objects([(f"human{i}", keys.did_key(s.public)) for i, s in enumerate(signers())])


def _required() -> str:
    """Give the digest of what the release requires, as the ledger will record it."""
    rules = [
        StoredObject("ApprovalRule", found["metadata"]["name"], {}, 1, 0, None, found["spec"])
        for found in _objects()
        if found["kind"] == "ApprovalRule"
    ]
    constitution = Constitution.of(
        roles=[], bindings=[], rules=[read_approval_rule(rule) for rule in rules], break_glasses=[]
    )
    touches = touches_of_release(RELEASE, "n", _release(1)["spec"]["manifests"])
    scope = Scope(Operation.APPLY, touches, (CLUSTER,), Risk.LOW)
    return requirement(constitution, scope, PROPOSAL_TTL_BLOCKS_MAX).digest


def _body(signer: Signer, size: int) -> bytes:
    """Give a body that makes an envelope of ``size`` bytes: a small rollback, or a release."""
    if size < len(signer.seal(release_body(_release(1)), FIRST_NONCE)):
        return _padded(signer, size, lambda pad: rollback_body(RELEASE, 1, reason="x" * pad))
    return _padded(signer, size, lambda pad: release_body(_release(pad)))


def _padded(signer: Signer, size: int, make: Maker) -> bytes:
    pad = 0
    for _ in range(8):
        missing = size - len(signer.seal(make(pad), FIRST_NONCE))
        if missing == 0:
            return make(pad)
        pad = max(0, pad + missing)
    raise AssertionError(f"no envelope of {size} bytes: {size - missing} is the nearest")


def _release(padding: int) -> JsonObject:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "n"},
        "data": {"k": "x" * padding},
    }
    return {
        "apiVersion": "conclave.internal/v1",
        "kind": "Release",
        "metadata": {"name": RELEASE},
        "spec": {
            "clusters": [CLUSTER],
            "namespace": "n",
            "manifests": [manifest],
            "provenance": {"source": "yaml", "digest": "0" * 64, "renderer": "bench"},
        },
    }
