"""One lie at a time about headers, commits or validator sets: nothing is ``Verified``, the code says why.

Each lie is told to a reader that trusts only the genesis, and to one that already believes older headers.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from consensus.light.encoding import header_hash
from consensus.light.render import block_id_json, commit_json, signed_header_json, validators_json
from consensus.light.types import BlockId, PartSetHeader
from consensus.rpc import RpcClient
from ledger.errors import Code
from ledger.types import JsonObject
from tests.redteam.lying_ledger import CHANGE_HEIGHT, VALIDATORS, Lie, LyingLedger
from tests.redteam.victim import CHAIN, NEWEST, Victim, in_commit, in_header, instead, of, refused
from tests.support.chain import Chain, set_of, sign, signers

H = "AB" * 32
_HEADER_LIES: dict[str, tuple[Any, Code]] = {
    "version": ({"block": "11", "app": "2"}, Code.COMMIT_MISMATCH),
    "chain_id": ("another-chain", Code.HEADER_CHAIN_MISMATCH),
    "height": (str(NEWEST + 1), Code.COMMIT_MISMATCH),
    "time": ("2030-01-01T00:00:00Z", Code.COMMIT_MISMATCH),
    "last_block_id": ({"hash": H, "parts": {"total": 1, "hash": H}}, Code.COMMIT_MISMATCH),
    "last_commit_hash": (H, Code.COMMIT_MISMATCH),
    "data_hash": (H, Code.COMMIT_MISMATCH),
    "validators_hash": (H, Code.COMMIT_MISMATCH),
    "next_validators_hash": (H, Code.COMMIT_MISMATCH),
    "consensus_hash": (H, Code.COMMIT_MISMATCH),
    "app_hash": (H, Code.COMMIT_MISMATCH),
    "last_results_hash": (H, Code.COMMIT_MISMATCH),
    "evidence_hash": (H, Code.COMMIT_MISMATCH),
    "proposer_address": ("CD" * 20, Code.COMMIT_MISMATCH),
}


@pytest.mark.requires("redteam.header-fields")
def test_every_field_of_a_header_is_lied_about() -> None:
    assert set(_HEADER_LIES) == set(signed_header_json(CHAIN.blocks[1].signed_header)["header"])


@pytest.mark.requires("redteam.header-fields")
@pytest.mark.parametrize("field", _HEADER_LIES)
def test_a_lie_in_one_header_field(liar: LyingLedger, victim: Victim, made: list[Any], field: str) -> None:
    value, code = _HEADER_LIES[field]
    assert refused(liar, victim, made, in_header(field, value)) is code


@pytest.mark.requires("redteam.header-fields")
@pytest.mark.parametrize("field", ["app_hash", "data_hash", "next_validators_hash", "consensus_hash"])
def test_a_lie_with_the_block_id_made_to_fit(
    liar: LyingLedger, victim: Victim, made: list[Any], field: str
) -> None:
    block = CHAIN.blocks[NEWEST]
    changed: dict[str, Any] = {field: b"\xab" * 32}
    header = dataclasses.replace(block.header, **changed)
    digest = header_hash(header)
    block_id = BlockId(digest, PartSetHeader(1, digest))
    commit = dataclasses.replace(block.signed_header.commit, block_id=block_id)
    signed = signed_header_json(dataclasses.replace(block.signed_header, header=header, commit=commit))
    assert refused(liar, victim, made, instead(**signed)) in (
        Code.COMMIT_SIGNATURE_INVALID,
        Code.NEXT_VALIDATORS_MISMATCH,
    )


def _sigs(change: Callable[[list[JsonObject]], Any]) -> Lie:
    return in_commit(lambda commit: change(commit["signatures"]))


def _swap(sigs: list[JsonObject]) -> None:
    sigs[0]["signature"], sigs[1]["signature"] = sigs[1]["signature"], sigs[0]["signature"]


def _duplicate(sigs: list[JsonObject]) -> None:
    sigs[1] = dict(sigs[0])


def _one_three_times(sigs: list[JsonObject]) -> None:
    for index in (1, 2, 3):
        sigs[index].update({"signature": sigs[0]["signature"], "timestamp": sigs[0]["timestamp"]})


def _nil(sigs: list[JsonObject]) -> None:
    for sig in sigs[:2]:
        sig["block_id_flag"] = 3


def _absent(sigs: list[JsonObject]) -> None:
    for sig in sigs[:2]:
        sig.update(block_id_flag=1, validator_address="", timestamp="0001-01-01T00:00:00Z", signature=None)


def _flip(sigs: list[JsonObject]) -> None:
    raw = bytearray(base64.b64decode(sigs[2]["signature"]))
    raw[40] ^= 1
    sigs[2]["signature"] = base64.b64encode(raw).decode()


def _late(sigs: list[JsonObject]) -> None:
    sigs[0]["timestamp"] = "2027-01-15T08:00:09.5Z"


def _other_height() -> JsonObject:
    return commit_json(CHAIN.blocks[NEWEST - 1].signed_header.commit)


def _other_heights_signatures() -> Lie:
    others = _other_height()["signatures"]
    return in_commit(lambda commit: commit.update(signatures=others))


def _strangers() -> JsonObject:
    strangers = signers("w1", "w2", "w3", "w4")
    return commit_json(sign(CHAIN.chain_id, CHAIN.blocks[NEWEST].header, strangers))


def _another_chains() -> JsonObject:
    return commit_json(sign("another-chain", CHAIN.blocks[NEWEST].header, VALIDATORS))


_COMMIT_LIES: dict[str, tuple[Lie, frozenset[Code]]] = {
    "signatures swapped": (_sigs(_swap), frozenset({Code.COMMIT_SIGNATURE_INVALID})),
    "a signature twice": (
        _sigs(_duplicate),
        frozenset({Code.COMMIT_ADDRESS_MISMATCH, Code.VALIDATOR_DUPLICATE}),
    ),
    "one signature for all": (_sigs(_one_three_times), frozenset({Code.COMMIT_SIGNATURE_INVALID})),
    "votes called nil": (
        _sigs(_nil),
        frozenset({Code.COMMIT_SIGNATURE_INVALID, Code.COMMIT_UNDER_TWO_THIRDS}),
    ),
    "half of them absent": (_sigs(_absent), frozenset({Code.COMMIT_UNDER_TWO_THIRDS})),
    "a bit of one": (_sigs(_flip), frozenset({Code.COMMIT_SIGNATURE_INVALID})),
    "a vote's time": (_sigs(_late), frozenset({Code.COMMIT_SIGNATURE_INVALID})),
    "none at all": (
        _sigs(lambda sigs: sigs.clear()),
        frozenset({Code.COMMIT_MISMATCH, Code.HEADER_MALFORMED}),
    ),
    "one too few": (_sigs(lambda sigs: sigs.pop()), frozenset({Code.COMMIT_MISMATCH})),
    "one too many": (_sigs(lambda sigs: sigs.append(dict(sigs[0]))), frozenset({Code.COMMIT_MISMATCH})),
    "the commit of another height": (
        instead(commit=_other_height()),
        frozenset({Code.COMMIT_MISMATCH, Code.HEADER_MALFORMED}),
    ),
    "signatures of another height": (
        _other_heights_signatures(),
        frozenset({Code.COMMIT_SIGNATURE_INVALID}),
    ),
    "another height in it": (
        in_commit(lambda commit: commit.update(height=str(NEWEST - 1))),
        frozenset({Code.COMMIT_MISMATCH, Code.HEADER_MALFORMED}),
    ),
    "another round": (
        in_commit(lambda commit: commit.update(round=1)),
        frozenset({Code.COMMIT_SIGNATURE_INVALID}),
    ),
    "another block id": (
        in_commit(
            lambda commit: commit.update(
                block_id=block_id_json(BlockId(b"\xab" * 32, PartSetHeader(1, b"\xab" * 32)))
            )
        ),
        frozenset({Code.COMMIT_MISMATCH}),
    ),
    "other parts in the block id": (
        in_commit(lambda commit: commit["block_id"]["parts"].update(hash=H)),
        frozenset({Code.COMMIT_SIGNATURE_INVALID}),
    ),
    "strangers' signatures": (instead(commit=_strangers()), frozenset({Code.COMMIT_ADDRESS_MISMATCH})),
    "signatures for another chain": (
        instead(commit=_another_chains()),
        frozenset({Code.COMMIT_SIGNATURE_INVALID}),
    ),
}


@pytest.mark.requires("redteam.commits")
@pytest.mark.parametrize("name", _COMMIT_LIES)
def test_a_lie_in_a_commit(liar: LyingLedger, victim: Victim, made: list[Any], name: str) -> None:
    lie, codes = _COMMIT_LIES[name]
    assert refused(liar, victim, made, lie) in codes


def _members(names: tuple[str, ...]) -> Callable[[Any], None]:
    listed = validators_json(set_of(signers(*names)))

    def change(result: Any) -> None:
        result.update(validators=listed, count=str(len(listed)), total=str(len(listed)))

    return change


def _power(result: Any) -> None:
    result["validators"][0]["voting_power"] = "1000"


def _same_twice(result: Any) -> None:
    result["validators"][1] = dict(result["validators"][0])


_SET_LIES: dict[str, tuple[Lie, frozenset[Code]]] = {
    "power": (of("validators", _power), frozenset({Code.VALIDATORS_HASH_MISMATCH})),
    "others": (of("validators", _members(("w1", "w2"))), frozenset({Code.VALIDATORS_HASH_MISMATCH})),
    "one less": (of("validators", _members(("v1", "v2", "v3"))), frozenset({Code.VALIDATORS_HASH_MISMATCH})),
    "one twice": (of("validators", _same_twice), frozenset({Code.VALIDATOR_DUPLICATE})),
    "next: others": (
        of("validators", _members(("w1", "w2")), height=CHANGE_HEIGHT + 1),
        frozenset({Code.NEXT_VALIDATORS_MISMATCH}),
    ),
    "next: power": (
        of("validators", _power, height=CHANGE_HEIGHT + 1),
        frozenset({Code.NEXT_VALIDATORS_MISMATCH}),
    ),
    "next: the old ones": (
        of("validators", _members(("v1", "v2", "v3", "v4")), height=CHANGE_HEIGHT + 1),
        frozenset({Code.NEXT_VALIDATORS_MISMATCH}),
    ),
    "another height's": (
        of("validators", lambda result: result.update(block_height="1")),
        frozenset({Code.RPC_ANSWER_INVALID}),
    ),
    "pages without end": (
        of("validators", lambda result: result.update(total="9999")),
        frozenset({Code.RPC_ANSWER_INVALID, Code.VALIDATOR_DUPLICATE}),
    ),
}


@pytest.mark.requires("redteam.validator-sets")
@pytest.mark.parametrize("name", _SET_LIES)
def test_a_lie_in_a_validator_set(liar: LyingLedger, victim: Victim, made: list[Any], name: str) -> None:
    lie, codes = _SET_LIES[name]
    assert refused(liar, victim, made, lie) in codes


@pytest.mark.requires("rpc.known-set-not-fetched")
def test_a_set_is_fetched_once_and_another_one_when_a_header_names_it(liar: LyingLedger) -> None:
    asked: list[tuple[str, str | None]] = []

    def note(method: str, params: JsonObject, result: Any) -> Any:
        asked.append((method, params.get("height")))
        return result

    liar.lie = note
    client = RpcClient(liar.url)
    blocks = [client.light_block(height) for height in range(1, NEWEST + 1)]
    client.close()
    assert [(b.validators, b.next_validators) for b in blocks] == [
        (CHAIN.blocks[h].validators, CHAIN.blocks[h].next_validators) for h in range(1, NEWEST + 1)
    ]
    assert [height for method, height in asked if method == "validators"] == ["1", str(NEWEST + 1)]


@pytest.mark.requires("redteam.validator-sets")
def test_a_whole_other_chain_of_other_validators(liar: LyingLedger, victim: Victim, made: list[Any]) -> None:
    other = Chain(signers("w1", "w2", "w3", "w4"))
    while other.height < NEWEST:
        other.append(app_hash=b"\xab" * 32)
    members = validators_json(set_of(other.members[1]))

    def lie(method: str, params: JsonObject, result: Any) -> Any:
        if method == "commit":
            return {"signed_header": signed_header_json(other.blocks[int(params["height"])].signed_header)}
        if method == "validators":
            return {**result, "validators": members, "count": "4", "total": "4"}
        return result

    code = refused(liar, victim, made, lie)
    assert code in (Code.TRUST_ROOT_MISMATCH, Code.NOT_ENOUGH_TRUST, Code.NEXT_VALIDATORS_MISMATCH)
