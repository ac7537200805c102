"""tendermint-rs's model-based light client cases, through the conformance door's own suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suites import light
from tests.vectors.state.shared import SHARED

_FOLDER = SHARED / "vectors" / "light-single-step"
_FILES = sorted(_FOLDER.glob("*.json"))
_WORDS = {"SUCCESS": "ok", "NOT_ENOUGH_TRUST": "not_enough_trust", "INVALID": "invalid"}

pytestmark = pytest.mark.skipif(not _FILES, reason=f"no public vectors at {_FOLDER}")


def _case(path: Path) -> tuple[dict[str, Any], list[str]]:
    source = json.loads(path.read_text())
    initial = source["initial"]
    case = {
        "trusted": {
            "signed_header": initial["signed_header"],
            "next_validators": initial["next_validator_set"]["validators"],
        },
        "trust_level": "1/3",
        "trusting_period_ns": initial["trusting_period"],
        "clock_drift_ns": 0,
        "steps": [
            {
                "signed_header": step["block"]["signed_header"],
                "validators": step["block"]["validator_set"]["validators"],
                "next_validators": step["block"]["next_validator_set"]["validators"],
                "now": step["now"],
            }
            for step in source["input"]
        ],
    }
    return case, [_WORDS[step["verdict"]] for step in source["input"]]


@pytest.mark.requires("light.single-step-vectors")
@pytest.mark.parametrize("path", _FILES, ids=lambda p: p.stem)
def test_published_verdicts(path: Path) -> None:
    case, expected = _case(path)
    assert light.answer(case)["verdicts"] == expected


@pytest.mark.requires("light.single-step-vectors")
def test_all_of_them_are_there() -> None:
    assert sum(len(_case(path)[1]) for path in _FILES) == 99
