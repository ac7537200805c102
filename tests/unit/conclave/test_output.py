"""Printing and comparing: safe text, aligned tables, exact changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from conclave.changes import compare, summary
from conclave.output import Output, duration, printable, to_yaml
from ledger.types import ProposalState


@pytest.mark.requires("cli.output")
def test_ledger_text_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2Jb\r\x9b\u202ec\x00"
    Output("table", is_terminal=False).table(["name"], [[hostile]])
    Output("table", is_terminal=False).line(hostile)
    text = capsys.readouterr().out
    assert not set(text) & set("\x1b\r\x9b\u202e\x00")
    assert printable("é → 日本\t\n") == "é → 日本\t\n"


@pytest.mark.requires("cli.output")
def test_tables_are_aligned_and_plain_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    Output("table", is_terminal=False).table(["a", "long"], [["xyz", None], ["1", ["p", "q"]], ["", True]])
    assert capsys.readouterr().out == "A    LONG\nxyz  -\n1    p,q\n     yes\n"


@pytest.mark.requires("cli.output")
def test_colour_needs_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Output("table", is_terminal=True).has_colour
    assert not Output("table", is_terminal=False).has_colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Output("table", is_terminal=True).has_colour


@pytest.mark.requires("cli.output")
def test_machine_formats_carry_the_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"state": ProposalState.FINAL, "text": "yes", "n": 1, "none": None}
    plain = {"state": "final", "text": "yes", "n": 1, "none": None}
    for output in (Output("json"), Output("yaml")):
        assert output.document(document)
        output.line("for people")
        output.note("for people")
    captured = capsys.readouterr()
    end = captured.out.index("}") + 1
    assert json.loads(captured.out[:end]) == plain
    assert yaml.safe_load(captured.out[end:]) == plain
    assert captured.err == ""
    assert not Output("table").document(document)


@pytest.mark.requires("cli.output")
@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")]
)
def test_durations_read_like_kubectls(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def config(name: str, api: str = "v1", **data: Any) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n"},
        "data": data,
    }


@pytest.mark.requires("cli.diff")
def test_changes_are_told_object_by_object() -> None:
    old = [config("a", x="1", y="2"), config("b"), config("c")]
    new = [{"kind": "ConfigMap", **config("c")}, config("a", y="2", x="3"), config("d")]
    found = compare(old, new)
    assert [(change.kind, change.object) for change in found] == [
        ("added", "v1/ConfigMap/n/d"),
        ("changed", "v1/ConfigMap/n/a"),
        ("removed", "v1/ConfigMap/n/b"),
        ("unchanged", "v1/ConfigMap/n/c"),
    ]
    changed = [line for line in found[1].lines if line[0] in "+-"]
    assert changed == ["-  x: '1'", "+  x: '3'"]
    assert summary(found) == "1 added, 1 changed, 1 removed, 1 unchanged"


@pytest.mark.requires("cli.diff")
def test_an_object_is_the_same_one_across_api_versions() -> None:
    old = {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}}
    assert [change.kind for change in compare([old], [old | {"apiVersion": "apps/v1"}])] == ["changed"]


@pytest.mark.requires("cli.diff")
def test_yaml_shows_text_that_looks_like_something_else_in_quotes() -> None:
    assert yaml.safe_load(to_yaml({"a": "yes", "b": "1"})) == {"a": "yes", "b": "1"}
