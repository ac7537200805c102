"""Keys made of names, of both algorithms, and identities that have them; never for a real ledger."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from identity.composite_signer import CompositeSigner, composite_signer
from identity.signer import FileSigner
from ledger import keys
from ledger.identity import IdentityRecord, read_identity_object
from ledger.inception import did_conclave, inception, inception_proofs
from ledger.key_set import KeyObject, Purpose, commitment
from ledger.keys import PublicKey
from ledger.types import JsonObject

ALL = tuple(sorted(purpose.value for purpose in Purpose))
MOST = tuple(purpose for purpose in ALL if purpose != Purpose.VALIDATE)
CHAIN_ID = "test-chain"
SALT = "5a" * 32


def _ed25519(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"ring " + name.encode()).digest())


@functools.cache
def plain(name: str) -> FileSigner:
    """Give an ed25519 key."""
    private = _ed25519(name)
    public = private.public_key().public_bytes_raw()
    return FileSigner(public, keys.did_key(public), keys.key_id(public), private)


@functools.cache
def composite(name: str) -> CompositeSigner:
    """Give a composite key."""
    seed = hashlib.sha256(b"ring mldsa " + name.encode()).digest()
    return composite_signer(MLDSA65PrivateKey.from_seed_bytes(seed), _ed25519(name))


Ring = FileSigner | CompositeSigner


def public(key: Ring) -> PublicKey:
    """Give the public half."""
    return PublicKey(key.algorithm, key.public_key)


def presented(*signing: Ring, purposes: tuple[str, ...] = MOST) -> tuple[KeyObject, ...]:
    """Give keys as a key set presents them."""
    return tuple(KeyObject(public(key), purposes) for key in sorted(signing, key=lambda key: key.key_id))


def committed(*signing: Ring) -> tuple[str, ...]:
    """Give the commitments to keys."""
    return tuple(sorted(commitment(key.key_id) for key in signing))


def identity_spec(
    first: Sequence[Ring], following: Sequence[Ring] = (), *, chain_id: str = CHAIN_ID
) -> JsonObject:
    """Give the spec of the ``Identity`` object of a human that begins with the keys ``first``."""
    begin = inception(presented(*first), committed(*following), SALT)
    did = did_conclave(chain_id, begin)
    return {
        "kind": "human",
        "organisation": "a",
        "cluster": None,
        "did": did,
        "inception": begin,
        "proofs": inception_proofs(chain_id, did, first),
    }


def identity_of(first: Sequence[Ring], following: Sequence[Ring] = (), *, height: int = 1) -> IdentityRecord:
    """Give the identity that ``identity_spec`` makes."""
    spec = identity_spec(first, following)
    return read_identity_object("alice", spec, "spec", chain_id=CHAIN_ID, height=height)
