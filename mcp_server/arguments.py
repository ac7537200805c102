"""What a tool may be asked: its fields, their JSON Schema and their strict reading, from one table.

Promises that arguments are read before any library sees them and that nothing is converted: an unknown field,
``"3"`` or ``true`` for a number, a number for a text are refused with the field's path, never with its value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ledger import health_expression, shape
from ledger.errors import Code, Refused
from ledger.limits import JSON_INTEGER_MAX, NAME_BYTES_MAX
from ledger.types import Json, JsonObject

FIELDS_MAX = 16
FIELD_NAME_BYTES_MAX = 128
CURSOR_BYTES_MAX = 40
ARGUMENTS = "arguments"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a tool's arguments: how it is told to a client, and how it is read."""

    name: str
    schema: JsonObject
    read: Callable[[Json, str], Any]
    is_required: bool = False


def name(field: str, *, required: bool = False) -> Field:
    """Give a field that holds a name of the ledger, a DNS label."""
    return Field(field, {"type": "string", "maxLength": NAME_BYTES_MAX}, shape.name, required)


def text(field: str, bytes_max: int, *, required: bool = False) -> Field:
    """Give a field that holds some text."""
    return Field(
        field,
        {"type": "string", "maxLength": bytes_max},
        lambda value, where: shape.text(value, where, bytes_max=bytes_max),
        required,
    )


def integer(field: str, *, at_least: int = 1, at_most: int | None = None, required: bool = False) -> Field:
    """Give a field that holds an integer from ``at_least``."""
    schema: JsonObject = {"type": "integer", "minimum": at_least}
    if at_most is not None:
        schema["maximum"] = at_most
    highest = JSON_INTEGER_MAX - 1 if at_most is None else at_most
    return Field(
        field,
        schema,
        lambda value, where: shape.integer(value, where, at_least=at_least, at_most=highest),
        required,
    )


def choice(field: str, allowed: Sequence[str], *, required: bool = False) -> Field:
    """Give a field that holds one of some words."""
    return Field(
        field,
        {"enum": list(allowed)},
        lambda value, where: shape.choice(value, where, allowed),
        required,
    )


def boolean(field: str) -> Field:
    """Give a field that holds true or false."""
    return Field(field, {"type": "boolean"}, shape.boolean)


def _field_name(value: Json, where: str) -> str:
    return health_expression.restricted(value, where, bytes_max=FIELD_NAME_BYTES_MAX)


def several(item: Field, *, at_most: int) -> Field:
    """Give a field that holds a list of what ``item`` holds, under its name."""

    def read_items(value: Json, where: str) -> list[Any]:
        items = shape.array(value, where, items_max=at_most)
        return [item.read(each, f"{where}[{i}]") for i, each in enumerate(items)]

    return Field(item.name, {"type": "array", "items": item.schema}, read_items, item.is_required)


def record(field: str, fields: Sequence[Field]) -> Field:
    """Give a field that holds an object of these fields and no others."""
    return Field(field, schema(fields), lambda value, where: read(fields, value, where))


def manifest(field: str) -> Field:
    """Give a field that holds a Kubernetes object, whose form ``ledger.manifest`` judges."""

    def read_manifest(value: Json, where: str) -> JsonObject:
        if type(value) is not dict:
            raise shape.invalid(where, type(value).__name__, "a Kubernetes object")
        return value

    return Field(field, {"type": "object"}, read_manifest)


_FIELDS = several(Field("fields", {"type": "string"}, _field_name), at_most=FIELDS_MAX)


def paging(items_max: int) -> tuple[Field, ...]:
    """Give the fields of every list: as of which height, where to go on, how many, which of their fields."""
    return (
        integer("at"),
        text("cursor", CURSOR_BYTES_MAX),
        integer("limit", at_most=items_max),
        _FIELDS,
    )


def schema(fields: Sequence[Field]) -> JsonObject:
    """Give the JSON Schema of an object of these fields and no others."""
    found: JsonObject = {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.is_required]
    return found | ({"required": required} if required else {})


def read(fields: Sequence[Field], value: Json, where: str = ARGUMENTS) -> JsonObject:
    """Read an object of these fields: arguments, or what stands ``where`` in them.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID, LIMIT_EXCEEDED.
    """
    known = {field.name: field for field in fields}
    given = {} if value is None and where == ARGUMENTS else value
    if type(given) is dict:
        for key in given:
            if key not in known:
                # An unknown name is a stranger's text: it is not repeated.
                raise Refused(
                    Code.FIELD_UNKNOWN,
                    got="a field of another name",
                    expected=", ".join(known),
                    todo="remove the field",
                    field=where,
                )
    found = shape.fields(
        given,
        where,
        required=[field.name for field in fields if field.is_required],
        optional=list(known),
    )
    return {key: known[key].read(item, f"{where}.{key}") for key, item in found.items()}
