"""The conformance door: order, ids, refusals, and the suites of the light client."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consensus.light.render import signed_header_json, validators_json
from consensus.light.timestamp import format_time
from ledger.errors import Code
from tests.conformance.__main__ import run
from tests.support.chain import Chain, signers

MEMBERS = signers("a", "b", "c", "d")
CHECKOUT = Path(__file__).parents[3]


def ask(suite: str, *cases: Any) -> list[Any]:
    lines = b"".join(
        (case if isinstance(case, bytes) else json.dumps(case).encode()) + b"\n" for case in cases
    )
    target = io.BytesIO()
    run(suite, io.BytesIO(lines), target)
    return [json.loads(line) for line in target.getvalue().splitlines()]


def block(chain: Chain, height: int) -> dict[str, Any]:
    found = chain.blocks[height]
    assert found.next_validators is not None
    return {
        "signed_header": signed_header_json(found.signed_header),
        "validators": validators_json(found.validators)[::-1],
        "next_validators": {"validators": validators_json(found.next_validators), "proposer": None},
    }


def frame(chain: Chain) -> dict[str, Any]:
    return {
        "trust_level": "1/3",
        "trusting_period_ns": str(10**14),
        "clock_drift_ns": 10**10,
        "now": format_time(chain.now_ns),
    }


def made() -> Chain:
    chain = Chain(MEMBERS)
    chain.append()
    chain.append(following=signers("e", "f", "g", "h"))
    chain.extend(6)
    return chain


@pytest.mark.requires("conformance.line-for-line")
def test_lines_are_answered_in_order_with_their_ids() -> None:
    cases = [
        {"id": 1, "bytes": b"{}".hex()},
        b"nonsense",
        {"id": "x", "bytes": b"[ ]".hex()},
        b"[]",
        {"id": 4},
    ]
    answers = ask("canonical", *cases)
    assert [a["id"] for a in answers] == [1, None, "x", None, 4]
    assert [a["verdict"] for a in answers] == ["accepted", *["refused"] * 4]


@pytest.mark.requires("conformance.line-for-line")
@pytest.mark.parametrize("name", ["sigstore", "nothing", "../light", "__main__"])
def test_a_suite_without_a_part_refuses_every_case(name: str) -> None:
    assert ask(name, {"id": 1}, {"id": 2}) == [
        {"id": 1, "verdict": "refused"},
        {"id": 2, "verdict": "refused"},
    ]


@pytest.mark.requires("conformance.line-for-line")
def test_the_door_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance", "jcs"],
        input=json.dumps({"id": 7, "bytes": b'{"b":1,"a":1e2}'.hex()}).encode() + b"\n\xff\n",
        capture_output=True,
        cwd=CHECKOUT,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == {"id": 7, "verdict": "ok", "bytes": b'{"a":100,"b":1}'.hex()}
    assert second == {"id": None, "verdict": "refused"}


@pytest.mark.requires("conformance.suites")
def test_light_moves_trust_only_on_ok() -> None:
    chain = made()
    case = frame(chain) | {
        "id": 1,
        "trusted": {k: block(chain, 1)[k] for k in ("signed_header", "next_validators")},
    }
    steps = [
        block(chain, 8),
        block(chain, 2),
        block(chain, 2),
        block(chain, 3),
        {"signed_header": 5},
        block(chain, 8),
    ]
    case["steps"] = [step | {"now": case["now"]} for step in steps]
    (answer,) = ask("light", case)
    assert answer["verdicts"] == ["not_enough_trust", "ok", "invalid", "ok", "invalid", "ok"]
    assert answer["codes"] == [
        Code.NOT_ENOUGH_TRUST,
        None,
        Code.HEADER_NOT_NEWER,
        None,
        Code.HEADER_MALFORMED,
        None,
    ]


@pytest.mark.requires("conformance.suites")
def test_bisect_walks_and_compares() -> None:
    chain = made()
    primary = [block(chain, height) for height in range(1, 9)]
    forged = Chain(MEMBERS)
    forged.blocks, forged.members = dict(chain.blocks), dict(chain.members)
    forged.blocks[8] = chain.forge(8, app_hash=b"\x01" * 32)
    witness = [block(forged, height) for height in range(1, 9)]
    base = frame(chain) | {"target_height": 8, "primary": primary, "witnesses": []}
    named = {"height": 1, "hash": chain.trusted(1).hash.hex()}
    whole = {k: v for k, v in block(chain, 1).items() if k != "validators"}
    answers = ask(
        "bisect",
        base | {"trusted": named},
        base | {"trusted": whole, "witnesses": [primary]},
        base | {"trusted": named, "witnesses": [primary, witness]},
        base | {"trusted": named | {"hash": "01" * 32}},
        base | {"trusted": named, "primary": primary[:2]},
        base | {"trusted": named, "witnesses": [[]]},
        base | {"trusted": {}},
        base | {"trusted": named, "trust_level": "1/4"},
    )
    assert [(a["verdict"], a.get("code")) for a in answers] == [
        ("ok", None),
        ("ok", None),
        ("diverged", Code.HEADERS_DIVERGED),
        ("invalid", Code.TRUST_ROOT_MISMATCH),
        ("invalid", Code.RPC_REFUSED),
        ("invalid", Code.NO_WITNESS_AGREES),
        ("invalid", Code.HEADER_MALFORMED),
        ("refused", None),
    ]


@pytest.mark.requires("conformance.suites")
def test_ed25519_and_jcs() -> None:
    key = MEMBERS[0].key
    message, signature = b"m", key.sign(b"m").signature
    case = {"public_key": bytes(key.verify_key).hex(), "message": message.hex(), "signature": signature.hex()}
    answers = ask("ed25519", case, case | {"message": "00"}, case | {"signature": "00"}, {"id": 1})
    assert [a["verdict"] for a in answers] == ["valid", "invalid", "invalid", "refused"]
    answers = ask("jcs", {"bytes": b"[1.0, NaN]".hex()}, {"bytes": b'"\\ud800"'.hex()}, {"bytes": "zz"})
    assert [a["verdict"] for a in answers] == ["refused"] * 3
