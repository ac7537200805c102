"""What of an entry comes back: names, and restricted JMESPath that sees cleaned values alone."""

from __future__ import annotations

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
