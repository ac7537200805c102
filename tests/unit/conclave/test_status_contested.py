"""``conclave status`` names objects that others write again and again."""

from __future__ import annotations

import json

import pytest

from ledger.actions import Report
from ledger.bodies import report_body
from ledger.errors import Code
from tests.support.ledger import EAST, envelope
from tests.unit.conclave.desk import Desk

OBJECT = "v1/ConfigMap/default/a"
REASON = "written by rival-operator, undone 9 times"


def _report(desk: Desk, code: int) -> None:
    item = {"object": OBJECT, "outcome": "configured", "health": "current", "code": code}
    report = Report("east", "guestbook", 1, 1, "partial", "current", (item,))
    assert [r.code for r in desk.ledger.commit(envelope(EAST, report_body(report)))] == [0]
    desk.ledger.commit()


@pytest.mark.requires("bridge.contested")
def test_a_contested_object_is_named_by_the_ledger_and_its_rival_by_the_bridge_here(desk: Desk) -> None:
    desk.release("east", "west")
    _report(desk, int(Code.OBJECT_CONTESTED))
    rows = {row["cluster"]: row["contested"] for row in desk.run("status")["items"]}
    assert rows == {"east": [{"object": OBJECT, "said": None}], "west": []}
    assert f"contested on east: {OBJECT} of guestbook" in " ".join(desk.show("status").split())
    folder = desk.path / "bridges" / "east"
    folder.mkdir(parents=True)
    file = folder / "bridge-status.json"
    file.write_text(
        json.dumps({"releases": {"guestbook": {"objects": [{"object": OBJECT, "reason": REASON}]}}})
    )
    assert REASON in " ".join(desk.show("status").split())
    for content in ("", "[]", '{"releases": 3}', '{"releases": {"guestbook": {"objects": [3]}}}', "\xff"):
        file.write_bytes(content.encode("latin-1"))
        assert desk.run("status")["items"][0]["contested"] == [{"object": OBJECT, "said": None}]


@pytest.mark.requires("bridge.contested")
def test_other_trouble_is_not_called_contested(desk: Desk) -> None:
    desk.release()
    _report(desk, int(Code.KUBERNETES_REFUSED))
    assert desk.run("status")["items"][0]["contested"] == []
