"""Every promise has a test and every test a promise, found by reading the tests, not by running them."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import REQUIREMENTS

TESTS = Path(__file__).resolve().parent


def promises_of(node: ast.AST) -> Iterator[str]:
    """Give the ids of every ``pytest.mark.requires(...)`` under ``node``."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.requires":
            for argument in call.args:
                value = argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
                yield str(value)


def marked_in(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Give each test of a module with the promises it, its class or its module is marked with."""
    whole = [p for node in tree.body if is_mark(node) for p in promises_of(node)]
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        shared = list(whole)
        if isinstance(node, ast.ClassDef):
            shared += [
                p for part in (*node.decorator_list, *filter(is_mark, inner)) for p in promises_of(part)
            ]
        for function in inner:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = [p for d in function.decorator_list for p in promises_of(d)]
                if function.name.startswith("test"):
                    yield function.name, shared + marks


def is_mark(node: ast.stmt) -> bool:
    """Tell whether a statement assigns ``pytestmark``."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


@functools.cache
def scan() -> dict[str, list[str]]:
    """Give the promises of every test, by ``file::test``."""
    return {
        f"{path.relative_to(TESTS)}::{name}": promises
        for path in sorted(TESTS.rglob("test_*.py"))
        for name, promises in marked_in(ast.parse(path.read_text()))
    }


@pytest.mark.requires("house.promises")
def test_every_mark_names_a_promise() -> None:
    unknown = [
        f"{test} marks {p!r}" for test, promises in scan().items() for p in promises if p not in REQUIREMENTS
    ]
    assert not unknown, "write the promise into tests/requirements.py, or correct the mark:\n" + "\n".join(
        unknown
    )


@pytest.mark.requires("house.promises")
def test_every_promise_has_a_test() -> None:
    shown = {promise for promises in scan().values() for promise in promises}
    unshown = [f"{name}: {promise}" for name, promise in REQUIREMENTS.items() if name not in shown]
    assert not unshown, "write a test that would fail without it, or withdraw the promise:\n" + "\n".join(
        unshown
    )


@pytest.mark.requires("house.promises")
def test_every_test_shows_a_promise() -> None:
    idle = [test for test, promises in scan().items() if not promises]
    assert not idle, 'mark with @pytest.mark.requires("id") what each test shows:\n' + "\n".join(idle)


@pytest.mark.requires("house.promises")
def test_promises_are_written_once_and_say_something() -> None:
    trees = [ast.parse(file.read_text()) for file in sorted(TESTS.glob("requirements*.py"))]
    keys = [
        key.value
        for tree in trees
        for table in ast.walk(tree)
        if isinstance(table, ast.Dict)
        for key in table.keys
        if isinstance(key, ast.Constant)
    ]
    times: dict[object, int] = defaultdict(int)
    for key in keys:
        times[key] += 1
    assert [key for key, count in times.items() if count > 1] == []
    assert set(keys) == set(REQUIREMENTS)
    assert [name for name, promise in REQUIREMENTS.items() if "." not in name or len(promise) < 15] == []


@pytest.mark.requires("house.promises")
def test_the_scan_sees_every_form_of_a_mark() -> None:
    source = """
import pytest
pytestmark = [pytest.mark.requires("a.module")]
class TestGroup:
    pytestmark = pytest.mark.requires("a.class")
    @pytest.mark.requires("a.method", "b.second")
    def test_one(self): pass
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requires("a.param"))])
async def test_two(x): pass
def other(): pass
"""
    assert dict(marked_in(ast.parse(source))) == {
        "test_one": ["a.module", "a.class", "a.method", "b.second"],
        "test_two": ["a.module", "a.param"],
    }
