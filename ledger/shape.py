"""Strict reading of JSON objects: every field known, every value of its type and within its limit.

Promises that a refusal names the field by its path. Never fills in, converts or forgives.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ledger.errors import Code, Refused
from ledger.limits import DID_BYTES_MAX, JSON_INTEGER_MAX, NAME_BYTES_MAX
from ledger.types import Json, JsonObject

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_DID = re.compile(r"did:[a-z0-9]+:[A-Za-z0-9._:%-]+")


def fields(
    value: Json, where: str, *, required: Collection[str], optional: Collection[str] = ()
) -> JsonObject:
    """Give ``value`` if it is an object with all required and no unknown fields.

    Raises:
        Refused: FIELD_INVALID, FIELD_MISSING or FIELD_UNKNOWN with the field's path.
    """
    if type(value) is not dict:
        raise invalid(where, value, "an object")
    for name in required:
        if name not in value:
            raise Refused(
                Code.FIELD_MISSING, got="nothing", expected=f"{where}.{name}", field=f"{where}.{name}"
            )
    for name in value:
        if name not in required and name not in optional:
            raise Refused(
                Code.FIELD_UNKNOWN,
                got=name,
                expected=", ".join(sorted({*required, *optional})),
                todo="remove the field",
                field=f"{where}.{name}",
            )
    return value


def text(value: Json, where: str, *, bytes_max: int, empty: bool = False) -> str:
    """Give ``value`` if it is a string of at most ``bytes_max`` UTF-8 bytes."""
    if type(value) is not str or (not value and not empty):
        raise invalid(where, value, "a string")
    if len(value.encode("utf-8", "surrogatepass")) > bytes_max:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{len(value)} characters",
            expected=f"at most {bytes_max} bytes",
            field=where,
        )
    return value


def name(value: Json, where: str) -> str:
    """Give ``value`` if it is a DNS label (RFC 1123), the form of every name on the ledger."""
    if type(value) is not str or len(value) > NAME_BYTES_MAX or not _NAME.fullmatch(value):
        raise invalid(where, value, f"a DNS label of at most {NAME_BYTES_MAX} characters")
    return value


def digest(value: Json, where: str) -> str:
    """Give ``value`` if it is 64 lower-case hex digits."""
    if type(value) is not str or not _HEX64.fullmatch(value):
        raise invalid(where, value, "64 lower-case hex digits")
    return value


def did(value: Json, where: str) -> str:
    """Give ``value`` if it has the form of a DID."""
    if type(value) is not str or len(value) > DID_BYTES_MAX or not _DID.fullmatch(value):
        raise invalid(where, value, "a DID")
    return value


def integer(value: Json, where: str, *, at_least: int = 0, at_most: int = JSON_INTEGER_MAX) -> int:
    """Give ``value`` if it is an integer (no bool) within the bounds, inclusive."""
    if type(value) is not int or not at_least <= value <= at_most:
        raise invalid(where, value, f"an integer from {at_least} to {at_most}")
    return value


def boolean(value: Json, where: str) -> bool:
    """Give ``value`` if it is true or false."""
    if type(value) is not bool:
        raise invalid(where, value, "true or false")
    return value


def choice(value: Json, where: str, allowed: Collection[str]) -> str:
    """Give ``value`` if it is one of ``allowed``."""
    if type(value) is not str or value not in allowed:
        raise invalid(where, value, " | ".join(sorted(allowed)))
    return value


def array(value: Json, where: str, *, items_max: int) -> list[Json]:
    """Give ``value`` if it is an array of at most ``items_max`` items."""
    if type(value) is not list:
        raise invalid(where, value, "an array")
    if len(value) > items_max:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=f"{len(value)} items", expected=f"at most {items_max}", field=where
        )
    return value


def sorted_names(value: Json, where: str, *, items_max: int) -> tuple[str, ...]:
    """Give ``value`` if it is a non-empty, sorted array of distinct names."""
    items = tuple(name(v, f"{where}[{i}]") for i, v in enumerate(array(value, where, items_max=items_max)))
    if not items or list(items) != sorted(set(items)):
        raise invalid(where, list(items), "names, sorted, each once, at least one")
    return items


def invalid(where: str, value: Json, expected: str) -> Refused:
    """Make the refusal of one field's value."""
    got = "null" if value is None else f"{type(value).__name__} {value!r}"
    return Refused(Code.FIELD_INVALID, got=got, expected=expected, field=where)
