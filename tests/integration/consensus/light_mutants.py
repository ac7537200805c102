"""Lies and oddities about a light block, by class: each class gives questions made of one honest pair.

Owns the classes. Some only alter bytes; others are signed anew by the validators, to get to their rule.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nacl.signing import SigningKey

from consensus.light.types import (
    EMPTY_BLOCK_ID,
    BlockId,
    CommitSig,
    KeyType,
    LightBlock,
    PartSetHeader,
    Validator,
    ValidatorSet,
)
from ledger.types import sha256
from tests.integration.consensus.light_cases import (
    DRIFT_NS,
    PERIOD_NS,
    Keys,
    Question,
    edited,
    followed_by,
    question,
    resigned,
    sign,
)

SIGNED = ("untrusted", "signed_header")
HEADER = (*SIGNED, "header")
COMMIT = (*SIGNED, "commit")
OTHER_HASH = "AB" * 32
STRANGERS = {
    Validator(KeyType.ED25519, bytes(key.verify_key), 10).address: key
    for key in (SigningKey(sha256(b"stranger %d" % number)) for number in range(4))
}
_L = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = (
    (1).to_bytes(32, "little"),
    (2**255 - 19 + 1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    bytes(32),
    (2**255 | 1).to_bytes(32, "little"),
)
"""Of order 1, 1 (not canonical), 2, 4, and 1 with the sign of a zero set: ZIP-215 takes them all."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An honest pair of blocks, and the keys of the chain's validators."""

    trusted: LightBlock
    block: LightBlock
    keys: Keys

    @property
    def asked(self) -> Question:
        """The honest question."""
        return question(self.trusted, self.block)

    def vote(self, index: int) -> Any:
        """Give vote ``index`` as JSON."""
        return self.asked["untrusted"]["signed_header"]["commit"]["signatures"][index]

    @property
    def votes(self) -> range:
        """The indices of the votes."""
        return range(len(self.block.signed_header.commit.signatures))

    def instead(self, block: LightBlock) -> Question:
        """Ask about another block."""
        return question(self.trusted, block)


Mutants = Callable[[Pair], Iterator[Question]]


def header_fields(pair: Pair) -> Iterator[Question]:
    """Each field of the header altered, not signed."""
    header = pair.asked["untrusted"]["signed_header"]["header"]
    for name in header:
        if name.endswith("_hash"):
            yield edited(pair.asked, *HEADER, name, to=OTHER_HASH)
    yield edited(pair.asked, *HEADER, "proposer_address", to="AB" * 20)
    yield edited(pair.asked, *HEADER, "chain_id", to="other")
    yield edited(pair.asked, *HEADER, "height", to=str(pair.block.height + 1))
    yield edited(pair.asked, *HEADER, "time", to="2030-01-01T00:00:00.000000001Z")
    for block, app in (("12", "1"), ("11", "77")):
        yield edited(pair.asked, *HEADER, "version", to={"block": block, "app": app})
    yield edited(pair.asked, *HEADER, "last_block_id", "hash", to=OTHER_HASH)
    yield edited(pair.asked, *HEADER, "last_block_id", "parts", to={"total": 9, "hash": OTHER_HASH})


def header_resigned(pair: Pair) -> Iterator[Question]:
    """Headers that a lying quorum signed."""
    trusted, block, keys = pair.trusted.header, pair.block, pair.keys
    time_ns = block.header.time_ns
    changes: list[dict[str, Any]] = [
        {},
        {"time_ns": trusted.time_ns},
        {"time_ns": trusted.time_ns + 1},
        {"time_ns": trusted.time_ns - 1},
        {"time_ns": time_ns + 10**9},
        {"chain_id": "other"},
        {"chain_id": "x" * 50},
        {"version_block": 10},
        {"version_app": 7},
        {"height": trusted.height},
        {"height": trusted.height + 2},
        {"app_hash": b"other"},
        {"app_hash": b""},
        {"data_hash": b""},
        {"last_block_id": EMPTY_BLOCK_ID},
        {"last_block_id": BlockId(sha256(b"x"), PartSetHeader(0, b""))},
        {"validators_hash": sha256(b"others")},
    ]
    for change in changes:
        yield pair.instead(resigned(block, keys, **change))


def commit_fields(pair: Pair) -> Iterator[Question]:
    """Each field of the commit altered."""
    yield edited(pair.asked, *COMMIT, "height", to=str(pair.block.height - 1))
    yield edited(pair.asked, *COMMIT, "round", to=1 + pair.block.signed_header.commit.round)
    yield edited(pair.asked, *COMMIT, "block_id", "hash", to=OTHER_HASH)
    yield edited(pair.asked, *COMMIT, "block_id", "parts", "hash", to=OTHER_HASH)
    yield edited(pair.asked, *COMMIT, "block_id", "parts", "total", to=99)
    yield edited(pair.asked, *COMMIT, "block_id", to={"hash": "", "parts": {"total": 0, "hash": ""}})
    yield edited(pair.asked, *COMMIT, "signatures", to=[])
    unnamed = sign(pair.block.header, pair.block.validators, pair.keys, block_id=EMPTY_BLOCK_ID)
    yield pair.instead(dataclasses.replace(pair.block, signed_header=unnamed))


def votes(pair: Pair) -> Iterator[Question]:
    """Each vote altered in each part."""
    for index in pair.votes:
        where, vote = (*COMMIT, "signatures", index), pair.vote(index)
        absent = {"block_id_flag": 1, "validator_address": "", "timestamp": "0001-01-01T00:00:00Z"}
        yield edited(pair.asked, *where, to={**absent, "signature": None})
        yield edited(pair.asked, *where, "validator_address", to="CD" * 20)
        if vote["signature"] is None:
            continue
        wrong = ("A" if vote["signature"][0] != "A" else "B") + vote["signature"][1:]
        yield edited(pair.asked, *where, "signature", to=wrong)
        yield edited(pair.asked, *where, "timestamp", to="2026-01-01T00:00:00.5Z")
        for flag in (0, 1, 3, 4):
            yield edited(pair.asked, *where, "block_id_flag", to=flag)
        yield edited(pair.asked, *where, "signature", to=None)


def signature_sizes(pair: Pair) -> Iterator[Question]:
    """A signature of another size."""
    for index, size in itertools.product(pair.votes, (1, 63, 65, 96, 97)):
        if pair.vote(index)["signature"] is not None:
            text = base64.b64encode(bytes(size)).decode()
            yield edited(pair.asked, *COMMIT, "signatures", index, "signature", to=text)


def votes_moved(pair: Pair) -> Iterator[Question]:
    """Votes exchanged, missing, repeated; addresses exchanged (CSA-2026-001)."""
    given = [pair.vote(index) for index in pair.votes]
    for index in pair.votes[1:]:
        moved = list(given)
        moved[0], moved[index] = given[index], given[0]
        yield edited(pair.asked, *COMMIT, "signatures", to=moved)
        address = "validator_address"
        renamed = list(given)
        renamed[0] = given[0] | {address: given[index][address]}
        renamed[index] = given[index] | {address: given[0][address]}
        yield edited(pair.asked, *COMMIT, "signatures", to=renamed)
        yield edited(pair.asked, *COMMIT, "signatures", to=[given[0], *given[:index], *given[index + 1 :]])
    yield edited(pair.asked, *COMMIT, "signatures", to=given[:-1])
    yield edited(pair.asked, *COMMIT, "signatures", to=[*given, given[0]])
    yield edited(pair.asked, *COMMIT, "signatures", to=[given[0]] * len(given))


def quorums(pair: Pair) -> Iterator[Question]:
    """Every subset of the validators signs, the others are absent or vote nil."""
    header, validators = pair.block.header, pair.block.validators
    for chosen in range(2 ** len(validators.validators)):
        out = [index for index in range(len(validators.validators)) if chosen >> index & 1]
        for signed in (
            sign(header, validators, pair.keys, absent=out),
            sign(header, validators, pair.keys, nil=out),
        ):
            yield pair.instead(dataclasses.replace(pair.block, signed_header=signed))


def validator_sets(pair: Pair) -> Iterator[Question]:
    """Sets that are not the header's."""
    where, given = ("untrusted", "validators"), pair.asked["untrusted"]["validators"]
    stranger = {"type": "tendermint/PubKeyEd25519", "value": "A" * 43 + "="}
    for index, validator in enumerate(given):
        rest = given[:index] + given[index + 1 :]
        yield edited(pair.asked, *where, to=rest)
        yield edited(pair.asked, *where, to=[*rest, validator])
        for power in (str(int(validator["voting_power"]) + 1), "0", "-1", str(2**62)):
            yield edited(pair.asked, *where, index, "voting_power", to=power)
        yield edited(pair.asked, *where, index, "proposer_priority", to="5")
        yield edited(pair.asked, *where, index, "pub_key", to=stranger)
    yield edited(pair.asked, *where, to=[])


def strangers(pair: Pair) -> Iterator[Question]:
    """Sets nobody trusted, alone or beside the trusted, all signing properly."""
    own = pair.block.validators.validators
    for number, power in enumerate((1, 10, 100, 1000)):
        new = [Validator(KeyType.ED25519, bytes(key.verify_key), power) for key in STRANGERS.values()]
        keys = {**pair.keys, **STRANGERS}
        for kept in (0, 1, number + 1):
            mixed = ValidatorSet.of((*own[:kept], *new))
            yield pair.instead(resigned(pair.block, keys, mixed))


def times(pair: Pair) -> Iterator[Question]:
    """The present at each edge of expiry and drift."""
    expiry, future = pair.trusted.header.time_ns + PERIOD_NS, pair.block.header.time_ns - DRIFT_NS
    for now_ns in (expiry - 1, expiry, expiry + 1, future - 1, future, future + 1):
        yield question(pair.trusted, pair.block, now_ns=now_ns)


def small_order_keys(pair: Pair) -> Iterator[Question]:
    """Validators with keys of small order: ZIP-215 holds their empty signatures for right."""
    for point in SMALL_ORDER:
        odd = ValidatorSet.of((Validator(KeyType.ED25519, point, 100), *pair.block.validators.validators))
        trusted = followed_by(pair.trusted, pair.keys, odd)
        honest = resigned(pair.block, pair.keys, odd)
        sigs = list(honest.signed_header.commit.signatures)
        for r, s in itertools.product(SMALL_ORDER, (0, 1, _L)):
            sig = r + s.to_bytes(32, "little")
            sigs[0] = CommitSig(sigs[1].flag, odd.addresses[0], honest.header.time_ns, sig)
            commit = dataclasses.replace(honest.signed_header.commit, signatures=tuple(sigs))
            signed = dataclasses.replace(honest.signed_header, commit=commit)
            yield question(trusted, dataclasses.replace(honest, signed_header=signed))


def double_votes(pair: Pair) -> Iterator[Question]:
    """One trusted validator in two places of a stranger's commit."""
    new = [Validator(KeyType.ED25519, bytes(key.verify_key), 1000) for key in STRANGERS.values()]
    mixed = ValidatorSet.of((*pair.block.validators.validators, *new))
    honest = resigned(pair.block, {**pair.keys, **STRANGERS}, mixed)
    sigs = honest.signed_header.commit.signatures
    last = next(sig for sig in reversed(sigs) if sig.signature)
    for index in range(len(STRANGERS)):
        twice = (*sigs[:index], last, *sigs[index + 1 :])
        commit = dataclasses.replace(honest.signed_header.commit, signatures=twice)
        signed = dataclasses.replace(honest.signed_header, commit=commit)
        yield pair.instead(dataclasses.replace(honest, signed_header=signed))


def wrong_next_set(pair: Pair) -> Iterator[Question]:
    """The untrusted block comes with a next set that is not its header's."""
    yield edited(pair.asked, "untrusted", "next_validators", 0, "voting_power", to="77")


def wrong_trusted_set(pair: Pair) -> Iterator[Question]:
    """The trusted block comes with a next set that is not its header's."""
    yield edited(pair.asked, "trusted", "next_validators", 0, "voting_power", to="77777")


def doubled_validators(pair: Pair) -> Iterator[Question]:
    """A set that names a validator twice."""
    given = pair.asked["untrusted"]["validators"]
    for validator in given:
        yield edited(pair.asked, "untrusted", "validators", to=[*given, validator])


def unknown_fields(pair: Pair) -> Iterator[Question]:
    """Fields CometBFT does not write."""
    for where in (HEADER, COMMIT, ("untrusted", "validators", 0)):
        yield edited(pair.asked, *where, "extra", to=1)


CLASSES: tuple[Mutants, ...] = (
    header_fields,
    header_resigned,
    commit_fields,
    votes,
    signature_sizes,
    votes_moved,
    quorums,
    validator_sets,
    strangers,
    times,
    small_order_keys,
    double_votes,
    wrong_next_set,
    wrong_trusted_set,
    doubled_validators,
    unknown_fields,
)
