"""Frozen records to JSON and back, strictly, by the types of their fields.

Owns one table a record type, made once from its annotations. Promises that reading accepts exactly what
writing gives: every field known and, unless it has a default, present; every value of its type and within its
limit. Attribute ``final_height`` is spelled ``finalHeight``. Never converts or forgives.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from ledger import shape
from ledger.limits import CLUSTERS_PER_RELEASE_MAX
from ledger.types import Did, Json, JsonObject

R = TypeVar("R")
Reader = Callable[[Json, str], Any]

ITEMS_MAX = 2**14
"""Items of a list whose annotation gives no other limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an annotated integer, text or list."""

    at_least: int = 0
    at_most: int = 2**53 - 1
    bytes_max: int = 1024
    items_max: int = ITEMS_MAX
    empty: bool = False


Name = Annotated[str, shape.name]
"""A DNS label."""
Digest = Annotated[str, shape.digest]
"""SHA-256 in lower-case hex."""
Text = Annotated[str, Limits(empty=True)]
Positive = Annotated[int, Limits(at_least=1)]
Names = Annotated[tuple[Name, ...], Limits(items_max=CLUSTERS_PER_RELEASE_MAX)]


def read(record: type[R], value: Json, where: str) -> R:
    """Read a parsed JSON value as ``record``, a frozen dataclass.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID or LIMIT_EXCEEDED with the field's path.
    """
    plan: _Plan = _plan(record)  # type: ignore[arg-type]  # a class is hashable
    found = shape.fields(value, where, required=plan.required, optional=plan.optional)
    return record(
        **{plan.attributes[name]: plan.readers[name](v, f"{where}.{name}") for name, v in found.items()}
    )


def to_json(value: Any) -> Json:
    """Give the JSON of a record, or of a tuple, enum or plain value within one."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if kind is tuple:
        return [to_json(v) for v in value]
    found: JsonObject = {}
    for attribute, wire in _spelling(kind):  # type: ignore[arg-type]  # a class is hashable
        field = getattr(value, attribute)
        found[wire] = field if type(field) in _AS_IS else to_json(field)
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    required: tuple[str, ...]
    optional: tuple[str, ...]
    attributes: dict[str, str]
    readers: dict[str, Reader]


_AS_IS = frozenset({str, int, bool, dict, type(None)})


@functools.cache
def _spelling(record: Any) -> tuple[tuple[str, str], ...]:
    return tuple((f.name, _camel(f.name)) for f in dataclasses.fields(record))


@functools.cache
def _plan(record: Any) -> _Plan:
    hints = typing.get_type_hints(record, include_extras=True)
    fields = dataclasses.fields(record)
    missing = dataclasses.MISSING
    wires = {field.name: _camel(field.name) for field in fields}
    needed = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return _Plan(
        required=tuple(wires[name] for name in needed),
        optional=tuple(wires[f.name] for f in fields if f.name not in needed),
        attributes={wire: name for name, wire in wires.items()},
        readers={wires[name]: _reader(hints[name], Limits()) for name in wires},
    )


def _reader(hint: Any, limits: Limits) -> Reader:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        rule = arguments[1]
        return _reader(arguments[0], rule) if isinstance(rule, Limits) else typing.cast("Reader", rule)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (_reader(a, limits) for a in arguments if a is not type(None))
        return lambda value, where: None if value is None else inner(value, where)
    if origin is tuple:
        return _list_reader(_reader(arguments[0], Limits()), limits.items_max)
    if origin is dict or hint is dict:
        return _object
    if hint is Did:
        return shape.did
    return _plain_reader(hint, limits)


def _plain_reader(hint: Any, limits: Limits) -> Reader:
    if hint is bool:
        return shape.boolean
    if hint is int:
        return functools.partial(shape.integer, at_least=limits.at_least, at_most=limits.at_most)
    if hint is str:
        return functools.partial(shape.text, bytes_max=limits.bytes_max, empty=limits.empty)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        kind, names = hint, [member.value for member in hint]
        return lambda value, where: kind(shape.choice(value, where, names))
    assert dataclasses.is_dataclass(hint), hint
    return lambda value, where: read(typing.cast("type[Any]", hint), value, where)


def _list_reader(item: Reader, items_max: int) -> Reader:
    def read_list(value: Json, where: str) -> tuple[Any, ...]:
        items = shape.array(value, where, items_max=items_max)
        return tuple(item(v, f"{where}[{i}]") for i, v in enumerate(items))

    return read_list


def _object(value: Json, where: str) -> JsonObject:
    if type(value) is not dict:
        raise shape.invalid(where, value, "an object")
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
