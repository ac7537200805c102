"""A proof file in a hostile courier's hands: every field, every proof's byte, any bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.proof_file import form
from consensus.proof_file.form import decode
from ledger import canonical, records, statekeys
from ledger.errors import Code, ConclaveError, VerificationFailed
from state.proof import parse_proof
from tests.support.proof_files import a_ledger, changed, exported, questions, verdict

LEDGER = a_ledger()
FILES = {
    sort: exported(LEDGER, question).content
    for sort, question in questions(
        records.read_number(LEDGER.values[LEDGER.height][statekeys.proposal_number(1)])
    ).items()
}
SAYS_LESS = {"inclusions cut", "inclusions beheaded"}
"""Without them the heights of envelopes are those of the proven record, and the report says so."""
HEADERS_SAY_LESS = {"blocks cut"}
"""The segment ends earlier, and the report says where."""
EVERY = {"release": 5, "rollback": 40, "proposal": 20, "key": 1, "absence": 1, "headers": 1}
"""Of the long files only each so manieth change: the short ones hold most kinds of fields."""


def _refusal(content: bytes) -> Code | None:
    try:
        verdict(LEDGER, content)
    except ConclaveError as error:
        return error.code if error.got or error.expected else Code.OK
    return None


@pytest.mark.requires("proof-file.every-field")
@pytest.mark.parametrize("sort", EVERY)
def test_every_field_that_is_changed_is_noticed(sort: str) -> None:
    content = FILES[sort]
    believed = set()
    for where, bytes_ in changed(content, each=EVERY[sort]):
        refusal = _refusal(bytes_)
        if bytes_ != content and refusal is None:
            believed.add(where)
        assert bytes_ == content or refusal is not Code.OK
    assert believed <= (HEADERS_SAY_LESS if sort == "headers" else SAYS_LESS)


@pytest.mark.requires("proof-file.every-field")
def test_an_envelopes_place_in_its_block_is_bound() -> None:
    whole = json.loads(FILES["release"])
    one, other = whole["inclusions"][:2]
    for change in (
        {"height": other["height"]},
        {"index": 1, "total": 2, "aunts": ["ab" * 32]},
        {"envelope": "ab" * 32},
    ):
        whole["inclusions"][0] = one | change
        ordered = whole | {"inclusions": sorted(whole["inclusions"], key=lambda item: item["envelope"])}
        assert _refusal(canonical.dump(ordered)) is Code.TX_PROOF_INVALID


@pytest.mark.requires("proof-file.every-field")
@pytest.mark.parametrize("sort", ["key", "absence"])
def test_every_byte_of_a_proof_counts(sort: str) -> None:
    """But the key that a proof of absence repeats: the one asked for is taken from the question."""
    whole = json.loads(FILES[sort])
    honest = base64.b64decode(whole["answers"][0]["proof"])
    for place in range(len(honest)):
        flipped = honest[:place] + bytes([honest[place] ^ 0x41]) + honest[place + 1 :]
        whole["answers"][0]["proof"] = base64.b64encode(flipped).decode()
        if _refusal(canonical.dump(whole)) is None:
            assert sort == "absence"
            one, other = parse_proof(honest).nonexist, parse_proof(flipped).nonexist
            assert (one.left, one.right) == (other.left, other.right)


@pytest.mark.requires("proof-file.every-field")
def test_what_nobody_asked_for_is_refused() -> None:
    whole, other = json.loads(FILES["key"]), json.loads(FILES["absence"])
    whole["answers"] = sorted(whole["answers"] + other["answers"], key=lambda item: str(item["key"]))
    assert _refusal(canonical.dump(whole)) is Code.PROOF_FILE_INVALID


@pytest.mark.requires("proof-file.any-bytes")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_are_refused_by_code(data: st.DataObject) -> None:
    content = FILES["key"]
    way = data.draw(st.sampled_from(["noise", "flip", "torn", "deep", "json"]))
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = {
        "noise": data.draw(st.binary(max_size=100)),
        "flip": content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :],
        "torn": content[:at],
        "deep": content[:at] + b"[" * 5000,
        "json": canonical.dump(data.draw(_JSON)),
    }[way]
    assert _refusal(damaged) is not None


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["format", "blocks", "answers", "question", "from"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@pytest.mark.requires("proof-file.any-bytes")
@pytest.mark.parametrize(
    "dense", [b"[" * 2**20, b"[" + b"[]," * 2**18 + b"[]]", b"[" + b"1," * 2**18 + b"1]"]
)
def test_dense_structure_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch, dense: bytes
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(canonical, "load", lambda content, **_: parsed.append(content))
    with pytest.raises(VerificationFailed) as refused:
        decode(dense)
    assert (refused.value.code, parsed) == (Code.PROOF_FILE_INVALID, [])


@pytest.mark.requires("proof-file.any-bytes")
def test_sizes_are_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BLOCKS_MAX", "ANSWERS_MAX", "INCLUSIONS_MAX", "FILE_BYTES_MAX"):
        with monkeypatch.context() as patched:
            patched.setattr(form, name, 0)
            with pytest.raises(VerificationFailed) as refused:
                decode(FILES["release"])
            assert refused.value.code is Code.PROOF_FILE_INVALID
