"""Any bytes, any JSON, any mutation: only our own refusals come out, and nothing altered is believed."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import answers
from consensus.light.parse import parse_header, parse_light_block, parse_validators
from consensus.light.render import header_json, signed_header_json, validators_json
from consensus.light.timestamp import format_time, parse_time
from consensus.light.types import GO_ZERO_TIME_NS, Options
from consensus.light.verdict import Invalid, NotEnoughTrust, Ok
from consensus.light.verifier import verify
from consensus.rpc import RpcClient
from consensus.trust_store import TrustRoot
from ledger.errors import ConclaveError, EnvironmentFault, Refused, VerificationFailed
from tests.conformance.__main__ import answer_line, suite_named
from tests.support.chain import Chain, signers

MEMBERS = signers("a", "b", "c", "d")
CHAIN = Chain(MEMBERS)
CHAIN.append()
CHAIN.append(following=(*MEMBERS[1:], *signers("e")))
CHAIN.extend(4)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)
json_values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=20), v, max_size=4),
    max_leaves=12,
)


def _block_json(height: int) -> Any:
    block = CHAIN.blocks[height]
    assert block.next_validators is not None
    return {
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
        "next_validators": validators_json(block.next_validators),
    }


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*path, k) for k, _ in items] + [p for k, v in items for p in _places(v, (*path, k))]


def _set(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


ADJACENT, SKIPPED = _block_json(2), _block_json(6)
PLACES = {id(case): _places(case) for case in (ADJACENT, SKIPPED)}


@pytest.mark.requires("light.any-json")
@settings(max_examples=200, deadline=None)
@given(json_values, st.booleans())
def test_any_json_gives_our_refusals(value: Any, lax: bool) -> None:
    for read in (parse_light_block, parse_header, parse_validators):
        try:
            read(value, lax=lax)
        except VerificationFailed:
            continue


@pytest.mark.requires("light.any-json")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_block_with_any_field_replaced(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([ADJACENT, SKIPPED]))
    case = copy.deepcopy(source)
    path = data.draw(st.sampled_from(PLACES[id(source)]))
    _set(case, path, data.draw(json_values))
    try:
        block = parse_light_block(case, lax=data.draw(st.booleans()))
    except VerificationFailed:
        return
    verdict = verify(block, CHAIN.trusted(1), Options(), CHAIN.now_ns)
    assert isinstance(verdict, Ok | NotEnoughTrust | Invalid)
    if isinstance(verdict, Ok):
        assert verdict.trusted.header == CHAIN.blocks[block.height].header


def _flip(text: str, at: int) -> str:
    letters = "0123456789ABCDEF"
    old = text[at]
    return text[:at] + (letters[(letters.index(old) + 1) % 16] if old in letters else old) + text[at + 1 :]


@pytest.mark.requires("light.nothing-altered")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from([ADJACENT, SKIPPED]), st.integers(0), st.integers(0))
def test_no_flipped_digit_is_believed(source: Any, which: int, where: int) -> None:
    header = copy.deepcopy(source)
    fields = [
        ("signed_header", "header", name)
        for name, value in source["signed_header"]["header"].items()
        if isinstance(value, str) and any(c in "0123456789ABCDEF" for c in value)
    ]
    path = fields[which % len(fields)]
    old = header["signed_header"]["header"][path[-1]]
    new = _flip(old, where % len(old))
    if new == old:
        return
    _set(header, path, new)
    try:
        block = parse_light_block(header)
    except VerificationFailed:
        return
    assert isinstance(verify(block, CHAIN.trusted(1), Options(), CHAIN.now_ns), Invalid)


@pytest.mark.requires("light.two-thirds")
@settings(max_examples=100, deadline=None)
@given(st.sets(st.sampled_from(MEMBERS)))
def test_exactly_more_than_two_thirds_pass(absent: set[Any]) -> None:
    verdict = verify(CHAIN.forge(2, absent=absent), CHAIN.trusted(1), Options(), CHAIN.now_ns)
    assert isinstance(verdict, Ok) == ((4 - len(absent)) * 3 > 8)


@pytest.mark.requires("light.times-exact")
@given(st.integers(GO_ZERO_TIME_NS, 253_402_300_799 * 10**9 + 999_999_999))
def test_times_round_trip(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


@pytest.mark.requires("light.times-exact")
@given(st.text(max_size=40))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        assert parse_time(format_time(parse_time(text))) == parse_time(text)
    except VerificationFailed:
        return


@pytest.mark.requires("light.render-round-trip")
@given(st.integers(1, 2**63 - 1), st.integers(GO_ZERO_TIME_NS, 2**62), st.binary(max_size=64))
def test_headers_round_trip(height: int, time_ns: int, app_hash: bytes) -> None:
    header = dataclasses.replace(CHAIN.blocks[1].header, height=height, time_ns=time_ns, app_hash=app_hash)
    assert parse_header(json.loads(json.dumps(header_json(header)))) == header


@pytest.mark.requires("rpc.typed-answers")
@settings(max_examples=200, deadline=None)
@given(json_values)
def test_any_answer_is_read_or_refused(value: Any) -> None:
    for read in (
        answers.read_status,
        answers.read_commit,
        answers.read_query,
        answers.read_broadcast,
        answers.read_tx,
        lambda v: answers.read_results(v, 1),
        lambda v: answers.read_validators_page(v, 1, 1),
    ):
        try:
            read(value)
        except (EnvironmentFault, VerificationFailed):
            continue


@pytest.mark.requires("trust.genesis-root")
@settings(max_examples=100, deadline=None)
@given(json_values)
def test_any_genesis_is_read_or_refused(value: Any) -> None:
    try:
        TrustRoot.from_genesis(value)
    except Refused:
        return


@pytest.mark.requires("rpc.unreachable-named")
@given(st.text(max_size=60))
def test_any_endpoint_is_taken_or_refused(endpoint: str) -> None:
    try:
        RpcClient(endpoint).close()
    except ConclaveError:
        return


@pytest.mark.requires("conformance.never-crashes")
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["light", "bisect", "ed25519", "canonical", "jcs", "ics23", "merkle", "health", "none"]),
    st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()),
)
def test_any_case_is_answered(name: str, line: bytes) -> None:
    answer = answer_line(suite_named(name), line)
    assert "verdict" in answer or "verdicts" in answer
    assert "error" not in answer
