"""The published inclusion proofs of transparency-dev/merkle, good and bad."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.conformance.suites import merkle
from tests.vectors.state.shared import SHARED, cases


@pytest.mark.requires("state.rfc6962-vectors")
@pytest.mark.parametrize("path", cases("rfc6962/inclusion"))
def test_inclusion_is_judged_as_published(path: Path) -> None:
    case = json.loads(path.read_text())
    asked: dict[str, object] = {
        "leaf_hash": base64.b64decode(case["leafHash"]).hex(),
        "index": case["leafIdx"],
        "total": case["treeSize"],
        "aunts": [base64.b64decode(aunt).hex() for aunt in case["proof"] or []],
        "root": base64.b64decode(case["root"]).hex(),
    }
    assert merkle.answer(asked)["verdict"] == ("invalid" if case["wantErr"] else "valid")


@pytest.mark.requires("state.rfc6962-vectors")
def test_all_published_cases_are_here() -> None:
    folder = SHARED / "vectors" / "rfc6962" / "inclusion"
    if not folder.is_dir():
        pytest.skip(f"no vectors at {folder}")
    verdicts = [json.loads(path.read_text())["wantErr"] for path in folder.rglob("*.json")]
    assert (len(verdicts), verdicts.count(False)) == (98, 6)
