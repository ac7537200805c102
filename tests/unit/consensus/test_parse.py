"""Strict reading of blocks: what is refused, with which code and field."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from consensus.light.parse import parse_light_block, parse_validators
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import VALIDATORS_MAX, LightBlock
from ledger.errors import Code, VerificationFailed
from tests.support.chain import Chain, set_of, signers

MEMBERS = signers("a", "b", "c", "d")


def _json(block: LightBlock) -> dict[str, Any]:
    assert block.next_validators is not None
    return {
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
        "next_validators": validators_json(block.next_validators),
    }


def _block() -> LightBlock:
    chain = Chain(MEMBERS)
    chain.extend(2)
    return chain.append(absent=MEMBERS[:1], app_hash=b"\x05" * 32)


@pytest.mark.requires("light.render-round-trip")
def test_rendered_blocks_read_back() -> None:
    assert parse_light_block(_json(_block())) == _block()


@pytest.mark.requires("light.any-order")
def test_a_set_is_the_same_in_any_order() -> None:
    listed = validators_json(set_of(MEMBERS))
    assert parse_validators(listed[::-1]) == parse_validators(listed)


_HEADER = ("signed_header", "header")
_COMMIT = ("signed_header", "commit")
_BAD: list[tuple[tuple[str | int, ...], Any]] = [
    ((*_HEADER, "height"), 3),
    ((*_HEADER, "height"), "03"),
    ((*_HEADER, "height"), str(2**63)),
    ((*_HEADER, "height"), True),
    ((*_HEADER, "time"), 5),
    ((*_HEADER, "chain_id"), "x" * 51),
    ((*_HEADER, "chain_id"), "\ud800"),
    ((*_HEADER, "validators_hash"), ""),
    ((*_HEADER, "validators_hash"), "zz" * 32),
    ((*_HEADER, "data_hash"), "AB"),
    ((*_HEADER, "data_hash"), "AB " * 21 + "A"),
    ((*_HEADER, "proposer_address"), None),
    ((*_HEADER, "version"), []),
    ((*_HEADER, "version", "block"), "-1"),
    ((*_HEADER, "last_block_id"), None),
    ((*_HEADER, "surprise"), 1),
    ((*_COMMIT, "round"), -1),
    ((*_COMMIT, "round"), "0"),
    ((*_COMMIT, "round"), 2**31),
    ((*_COMMIT, "signatures"), {}),
    ((*_COMMIT, "signatures", 1, "block_id_flag"), 0),
    ((*_COMMIT, "signatures", 1, "block_id_flag"), 4),
    ((*_COMMIT, "signatures", 1, "signature"), None),
    ((*_COMMIT, "signatures", 1, "signature"), "not base64"),
    ((*_COMMIT, "signatures", 1, "signature"), base64.b64encode(b"x" * 97).decode()),
    ((*_COMMIT, "signatures", 1, "validator_address"), "AB"),
    (("signed_header",), "text"),
]


@pytest.mark.requires("light.parse-strict")
@pytest.mark.parametrize(("path", "value"), _BAD, ids=lambda v: str(v)[:60])
def test_what_is_no_block_is_malformed(path: tuple[str | int, ...], value: Any) -> None:
    case: Any = _json(_block())
    place = case
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(VerificationFailed) as refused:
        parse_light_block(case)
    assert refused.value.code is Code.HEADER_MALFORMED
    assert refused.value.facts["field"]


@pytest.mark.requires("light.parse-strict")
def test_an_absent_vote_has_no_content() -> None:
    case = _json(_block())
    sigs = case["signed_header"]["commit"]["signatures"]
    absent = next(sig for sig in sigs if sig["block_id_flag"] == 1)
    absent["signature"] = base64.b64encode(b"x" * 64).decode()
    with pytest.raises(VerificationFailed) as refused:
        parse_light_block(case)
    assert refused.value.code is Code.HEADER_MALFORMED


@pytest.mark.requires("light.parse-strict")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"voting_power": "-1"}, Code.VALIDATOR_SET_INVALID),
        ({"voting_power": str(2**62)}, Code.VALIDATOR_SET_INVALID),
        ({"address": "AB" * 20}, Code.VALIDATOR_SET_INVALID),
        ({"pub_key": {"type": "tendermint/PubKeyEd25519", "value": "AAAA"}}, Code.VALIDATOR_SET_INVALID),
        ({"pub_key": {"type": "tendermint/PubKeySecp256k1", "value": "AAAA"}}, Code.VALIDATOR_SET_INVALID),
        ({"pub_key": {"type": "tendermint/PubKeySecp256k1eth", "value": "AAAA"}}, Code.KEY_TYPE_UNSUPPORTED),
        ({"pub_key": {"type": "cometbft/PubKeyBls12_381", "value": "AAAA"}}, Code.KEY_TYPE_UNSUPPORTED),
        ({"pub_key": {"type": "cometbft/PubKeyMlDsa65", "value": "A" * 2600}}, Code.KEY_TYPE_UNSUPPORTED),
        ({"pub_key": None}, Code.VALIDATOR_SET_INVALID),
    ],
)
def test_a_wrong_validator(change: dict[str, Any], code: Code) -> None:
    listed = validators_json(set_of(MEMBERS))
    listed[2] = listed[2] | change
    with pytest.raises(VerificationFailed) as refused:
        parse_validators(listed)
    assert refused.value.code is code


@pytest.mark.requires("light.parse-strict")
def test_a_validator_twice() -> None:
    listed = validators_json(set_of(MEMBERS))
    with pytest.raises(VerificationFailed) as refused:
        parse_validators([*listed, listed[0]])
    assert refused.value.code is Code.VALIDATOR_DUPLICATE


@pytest.mark.requires("light.parse-strict")
def test_too_many_validators_are_refused_unread() -> None:
    with pytest.raises(VerificationFailed) as refused:
        parse_validators([None] * (VALIDATORS_MAX + 1))
    assert refused.value.code is Code.VALIDATOR_SET_INVALID


@pytest.mark.requires("light.parse-strict")
def test_foreign_spellings_only_where_asked_for() -> None:
    case = _json(_block())
    foreign = copy.deepcopy(case)
    header, commit = foreign["signed_header"]["header"], foreign["signed_header"]["commit"]
    header["height"] = int(header["height"])
    header["app_hash"] = header["app_hash"].lower()
    commit["block_id"]["part_set_header"] = commit["block_id"].pop("parts")
    commit["bit_array"] = None
    assert parse_light_block(foreign, lax=True) == parse_light_block(case)
    with pytest.raises(VerificationFailed):
        parse_light_block(foreign)
