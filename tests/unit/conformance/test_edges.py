"""The edges of the door's light suites: foreign spellings, odd sets and votes, frames that cannot be read."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from consensus.light.timestamp import format_time
from consensus.light.types import CommitSig, SignedHeader
from ledger.errors import Code
from tests.support.chain import Chain, secp_signers, sign, signers
from tests.unit.conformance.test_door import ask, block, frame

MIXED = (*signers("a", "b", "c"), *secp_signers("s"), *signers("none", power=0))

pytestmark = pytest.mark.requires("conformance.suites")


def grown(members: Any = MIXED, length: int = 6) -> Chain:
    chain = Chain(members)
    chain.extend(length)
    return chain


def case_of(chain: Chain, *heights: int, ground: int = 1) -> dict[str, Any]:
    trusted = {key: block(chain, ground)[key] for key in ("signed_header", "next_validators")}
    case: dict[str, Any] = frame(chain) | {"id": 1, "trusted": trusted}
    case["steps"] = [block(chain, height) | {"now": case["now"]} for height in heights]
    return case


def verdicts(case: dict[str, Any]) -> Any:
    (answer,) = ask("light", case)
    return answer.get("verdicts", answer.get("verdict"))


def commit_in(case: dict[str, Any], step: int = 0) -> Any:
    return case["steps"][step]["signed_header"]["commit"]


def header_in(case: dict[str, Any], step: int = 0) -> Any:
    return case["steps"][step]["signed_header"]["header"]


def test_both_key_types_and_a_validator_of_no_power() -> None:
    assert verdicts(case_of(grown(), 2, 6)) == ["ok", "ok"]


def test_a_key_type_nobody_judges_is_named() -> None:
    case = case_of(grown(), 2)
    case["steps"][0]["validators"][0]["pub_key"]["type"] = "cometbft/PubKeyBls12_381"
    (answer,) = ask("light", case)
    assert (answer["verdicts"], answer["codes"]) == (["invalid"], [Code.KEY_TYPE_UNSUPPORTED])


def test_only_validators_without_power_carry_nothing() -> None:
    assert verdicts(case_of(grown(signers("a", "b", power=0)), 2, 3)) == ["invalid", "not_enough_trust"]


def test_nil_votes_are_no_votes_and_bare_ones_are_invalid() -> None:
    chain = grown(signers("a", "b", "c", "d"))
    case = case_of(chain, 2, 3)
    votes = commit_in(case)["signatures"]
    assert verdicts(case) == ["ok", "ok"]
    votes[0]["block_id_flag"] = 3
    assert verdicts(case) == ["ok", "ok"]
    votes[1]["block_id_flag"] = "3"
    assert verdicts(case) == ["invalid", "ok"]
    votes[1] |= {"block_id_flag": 2, "signature": None}
    assert verdicts(case)[0] == "invalid"


@pytest.mark.parametrize(
    ("stated", "verdict"),
    [
        ("0001-01-01T00:00:00Z", "ok"),
        ("1970-01-01T00:00:00Z", "ok"),
        (None, "ok"),
        ("2027-01-15T08:00:01Z", "invalid"),
    ],
)
def test_the_time_of_an_absent_vote(stated: str | None, verdict: str) -> None:
    chain = Chain(MIXED)
    chain.append()
    chain.append(absent=MIXED[:1])
    case = case_of(chain, 2)
    absent = next(sig for sig in commit_in(case)["signatures"] if sig["block_id_flag"] == 1)
    absent["timestamp"] = stated
    assert verdicts(case) == [verdict]


def test_foreign_spellings() -> None:
    case = case_of(grown(), 2, 6)
    for step in range(2):
        header, commit = header_in(case, step), commit_in(case, step)
        header["height"], commit["height"] = int(header["height"]), int(commit["height"])
        header["version"] = {"block": 11, "app": 1}
        commit["round"] = str(commit["round"])
        commit["block_id"]["part_set_header"] = commit["block_id"].pop("parts")
        commit["bit_array"] = "xxxx"
        for name in ("validators_hash", "app_hash", "data_hash"):
            header[name] = header[name].lower()
        for validator in case["steps"][step]["validators"]:
            validator["voting_power"] = int(validator["voting_power"])
            del validator["address"], validator["proposer_priority"]
        case["steps"][step]["validator_set"] = {
            "validators": case["steps"][step].pop("validators"),
            "proposer": {"address": "AB"},
            "total_voting_power": "40",
        }
        case["steps"][step]["provider"] = "ab" * 20
    assert verdicts(case) == ["ok", "ok"]


@pytest.mark.parametrize(
    "empty", [None, "missing", {}, {"hash": "", "parts": None}, {"hash": "", "part_set_header": {"total": 0}}]
)
def test_the_first_header_names_no_block(empty: Any) -> None:
    case = case_of(grown(), 2)
    header = case["trusted"]["signed_header"]["header"]
    header["last_block_id"] = empty
    if empty == "missing":
        del header["last_block_id"]
    assert verdicts(case) == ["ok"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("1/3", ["ok"]),
        ("2/3", ["ok"]),
        ({"numerator": "3", "denominator": 4}, ["not_enough_trust"]),
        ("1/1", ["not_enough_trust"]),
        ("1/4", "refused"),
        ("0/0", "refused"),
        ("4/3", "refused"),
        ("1", "refused"),
        ({"numerator": 1}, "refused"),
        ([1, 3], "refused"),
        (0.5, "refused"),
        (None, "refused"),
    ],
)
def test_trust_levels(level: Any, expected: Any) -> None:
    members = signers("a", "b", "c", "d")
    chain = Chain(members)
    chain.append()
    chain.append(following=(*members[:3], *signers("x")))
    chain.extend(2)
    assert verdicts(case_of(chain, 4) | {"trust_level": level}) == expected


def test_a_nanosecond_decides() -> None:
    chain = grown()
    edge = chain.time_ns(2) - 7
    case = case_of(chain, 2) | {"clock_drift_ns": 7}
    for now_ns, verdict in ((edge, "invalid"), (edge + 1, "ok")):
        case["steps"][0]["now"] = format_time(now_ns)
        assert verdicts(case) == [verdict]
    end = chain.time_ns(1) + int(case["trusting_period_ns"])
    for now_ns, code in ((end, Code.TRUST_EXPIRED), (end - 1, None)):
        case["steps"][0]["now"] = format_time(now_ns)
        assert ask("light", case)[0]["codes"] == [code]


@pytest.mark.parametrize(
    "change",
    [
        {"trusting_period_ns": None},
        {"trusting_period_ns": 1.5},
        {"trusting_period_ns": float("inf")},
        {"clock_drift_ns": True},
        {"clock_drift_ns": "x"},
        {"steps": None},
        {"steps": [5]},
        {"steps": [{}]},
        {"trusted": None},
        {"trusted": {}},
        {"trusted": []},
    ],
)
def test_a_frame_that_cannot_be_read_is_refused(change: dict[str, Any]) -> None:
    assert ask("light", case_of(grown(), 2) | change) == [{"id": 1, "verdict": "refused"}]


@pytest.mark.parametrize(
    "now", ["2027-01-15T08:00:01", "2027-02-30T08:00:01Z", "x", 5, None, "2027-01-15T08:00:01.1234567890Z"]
)
def test_a_moment_that_cannot_be_read_is_refused(now: Any) -> None:
    case = case_of(grown(), 2)
    case["steps"][0]["now"] = now
    assert verdicts(case) == "refused"


def test_a_trusted_block_needs_no_commit_and_may_lack_or_lie_about_its_next_set() -> None:
    case = case_of(grown(), 2, 6)
    case["trusted"]["signed_header"]["commit"] = None
    assert verdicts(case) == ["ok", "ok"]
    for following in (None, block(grown(signers("x")), 1)["next_validators"]):
        case = case_of(grown(), 6, 2, 6)
        case["trusted"]["next_validators"] = following
        assert ask("light", case)[0]["codes"] == [Code.NEXT_VALIDATORS_MISMATCH, None, None]


def test_a_step_without_its_next_set_is_no_ground_for_a_leap_where_sets_change() -> None:
    members = signers("a", "b", "c", "d")
    chain = Chain(members)
    chain.append()
    chain.append(following=(*members[:3], *signers("x")))
    chain.extend(3)
    case = case_of(chain, 2, 5)
    del case["steps"][0]["next_validators"]
    assert ask("light", case)[0]["codes"] == [None, Code.NEXT_VALIDATORS_MISMATCH]


def bisection(chain: Chain, target: int, **change: Any) -> Any:
    blocks = [block(chain, height) for height in range(1, chain.height + 1)]
    named = {"height": "1", "hash": chain.trusted(1).hash.hex().upper()}
    case = frame(chain) | {"trusted": named, "primary": blocks, "target_height": str(target)} | change
    (answer,) = ask("bisect", case)
    return answer["verdict"], answer.get("code")


def changing() -> Chain:
    chain = Chain(signers(*"abcd"))
    for height in range(1, 12):
        chain.append(following=signers(*(f"v{number}" for number in range(height, height + 4))))
    return chain


def test_blocks_without_next_sets_are_walked_by_their_successors() -> None:
    chain = changing()
    bare = [block(chain, height) for height in range(1, 12)]
    for one in bare:
        del one["next_validators"]
    assert bisection(chain, 11, primary=bare) == ("ok", None)
    assert bisection(chain, 11, primary=bare[:1] + bare[9:]) == ("invalid", Code.NEXT_VALIDATORS_MISMATCH)


def test_a_target_below_is_reached_by_hash_links() -> None:
    chain = changing()
    named = {"height": 8, "hash": chain.trusted(8).hash.hex()}
    assert bisection(chain, 3, trusted=named) == ("ok", None)
    assert bisection(chain, 8, trusted=named) == ("ok", None)
    blocks = [block(chain, height) for height in range(1, 12)]
    forged = copy.deepcopy(blocks)
    forged[4]["signed_header"]["header"]["app_hash"] = "AB" * 32
    assert bisection(chain, 3, trusted=named, primary=forged) == ("invalid", Code.COMMIT_MISMATCH)
    assert bisection(chain, 0, trusted=named) == ("invalid", Code.RPC_REFUSED)


def test_what_witnesses_say() -> None:
    chain = grown(signers(*"abcd"), 8)
    honest = [block(chain, height) for height in range(1, 9)]
    late = copy.deepcopy(honest[:6])
    ahead = Chain(signers(*"abcd"))
    ahead.blocks, ahead.members = dict(chain.blocks), dict(chain.members)
    ahead.blocks[7] = chain.forge(7, time_ns=chain.time_ns(8), app_hash=b"\x02" * 32)
    leapt = [block(ahead, height) for height in range(1, 8)]
    nonsense = copy.deepcopy(honest)
    nonsense[7]["signed_header"]["header"]["app_hash"] = "AB" * 32
    unread = copy.deepcopy(honest)
    unread[7]["validators"] = 5
    agreed, alone = ("ok", None), ("invalid", Code.NO_WITNESS_AGREES)
    for witnesses, expected in (
        ([], agreed),
        (None, agreed),
        ([honest, late, nonsense, unread], agreed),
        ([late], alone),
        ([nonsense], alone),
        ([unread], alone),
        ([[]], alone),
        ([leapt], ("diverged", Code.HEADERS_DIVERGED)),
        ([honest, leapt], ("diverged", Code.HEADERS_DIVERGED)),
    ):
        assert bisection(chain, 8, witnesses=witnesses) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"primary": None},
        {"primary": {}},
        {"witnesses": [5]},
        {"witnesses": 5},
        {"target_height": "x"},
        {"target_height": 1.5},
        {"target_height": None},
        {"now": 5},
        {"trusted": {"height": 1, "hash": "zz"}},
        {"trusted": {"height": 1, "hash": None}},
        {"trusted": 5},
    ],
)
def test_a_bisection_that_cannot_be_read_is_refused(change: dict[str, Any]) -> None:
    assert bisection(grown(length=3), 3, **change) == ("refused", None)


def test_a_vote_moved_to_another_address_is_refused_by_its_code() -> None:
    chain = grown(signers(*"abcd"))
    honest = chain.blocks[2]
    sigs = sign(chain.chain_id, honest.header, chain.members[2]).signatures
    swapped: tuple[CommitSig, ...] = (
        dataclasses.replace(sigs[0], validator_address=sigs[1].validator_address),
        dataclasses.replace(sigs[1], validator_address=sigs[0].validator_address),
        *sigs[2:],
    )
    commit = dataclasses.replace(honest.signed_header.commit, signatures=swapped)
    chain.blocks[2] = dataclasses.replace(honest, signed_header=SignedHeader(honest.header, commit))
    assert ask("light", case_of(chain, 2))[0]["codes"] == [Code.COMMIT_ADDRESS_MISMATCH]
