"""What of an entry comes back: names, and restricted JMESPath that sees cleaned values alone."""

from __future__ import annotations

from functools import partial

import pytest

from ledger.errors import Code
from ledger.types import JsonObject
from mcp_server import arguments
from mcp_server.projection import project
from mcp_server.pruning import clean
from tests.support.refusal import refusal_of

KNOWN = ("name", "spec", "note")
ITEM: JsonObject = {
    "name": "web",
    "spec": {"env": [{"name": "DB_PASSWORD", "value": "hunter2hunter2"}, {"name": "PORT", "value": "80"}]},
}


@pytest.mark.requires("mcp.projection")
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["name"], {"name": "web"}),
        (["note"], {}),
        (["spec.env[1].value"], {"spec.env[1].value": "80"}),
        (["spec.env[?name=='PORT'].value"], {"spec.env[?name=='PORT'].value": ["80"]}),
        (["length(spec.env)", "name"], {"length(spec.env)": 2, "name": "web"}),
        (["spec.nothing.at.all"], {}),
    ],
)
def test_names_and_expressions_choose(wanted: list[str], found: JsonObject) -> None:
    assert project(ITEM, wanted, KNOWN) == found


@pytest.mark.requires("mcp.projection")
def test_a_secret_chosen_by_its_place_stays_a_digest() -> None:
    (chosen,) = project(clean(ITEM, b"key"), ["spec.env[0].value"], KNOWN).values()
    assert str(chosen).startswith("[secret ")


@pytest.mark.requires("mcp.projection")
def test_a_name_that_entries_never_hold_and_an_expression_that_does_not_fit_are_refused() -> None:
    refusal_of(lambda: project(ITEM, ["other"], KNOWN), Code.FIELD_UNKNOWN)
    told = refusal_of(lambda: project(ITEM, ["length(`1`)"], KNOWN), Code.FIELD_INVALID)
    assert told.facts["field"] == "arguments.fields[0]"


@pytest.mark.requires("mcp.projection")
@pytest.mark.parametrize(
    "expression", ["[@,@]", "[@,@]|[@,@]", "{a: @}", "sort_by(@, &x)", "a[]", "map(&a, b)", "((((", "a" * 129]
)
def test_what_could_grow_is_refused_before_it_is_tried(expression: str) -> None:
    fields = arguments.paging(100)
    with pytest.raises(Exception) as caught:
        arguments.read(fields, {"fields": [expression]})
    assert caught.value.code in (Code.FIELD_INVALID, Code.LIMIT_EXCEEDED)  # type: ignore[attr-defined]


@pytest.mark.requires("mcp.projection")
def test_expressions_that_are_too_much_work_for_the_entry_are_refused_before_they_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = "spec.x[?" + "||".join(f"@>`{n}`" for n in range(9)) + "]"
    item: JsonObject = {"name": "web", "spec": {"x": [0] * 20_000}}
    searched: list[str] = []
    monkeypatch.setattr("mcp_server.projection.jmespath.search", lambda text, _: searched.append(text))
    for wanted in ([long], ["spec.x[0]"] * 16):
        told = refusal_of(partial(project, item, wanted, KNOWN), Code.LIMIT_EXCEEDED)
        assert told.facts["field"] == "arguments.fields"
    assert searched == []
    project(item, ["spec.x[0]", "name", "spec"], KNOWN)
    project({"name": "web", "spec": {"x": [0] * 500}}, [long] * 4, KNOWN)
    assert searched == ["spec.x[0]", *[long] * 4]
