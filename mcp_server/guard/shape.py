"""What JSON may come in at all: its types, depth, size and text, before anybody looks for a meaning.

Promises bounded work and that nothing is mended: what is not plain JSON is refused. Gives the text that the
other checks read, once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from ledger.errors import Code, Refused
from ledger.limits import JSON_INTEGER_MAX
from ledger.types import Json
from mcp_server.guard.limits import ARGUMENT_DEPTH_MAX, ARGUMENT_VALUES_MAX, KEY_BYTES_MAX

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)
_PLAIN = frozenset({bool, type(None)})

Path = tuple[str | int, ...]


def read(value: Json, what: str, *, bytes_max: int) -> str:
    """Give a JSON value as text, keys in order, after its types, depth and size were found in order.

    Raises:
        Refused: BODY_NOT_JSON, BODY_TOO_DEEP, BODY_TOO_LARGE, BODY_NUMBER_OUT_OF_RANGE or LIMIT_EXCEEDED.
    """
    characters = _measure(value, what, bytes_max)
    text = _ENCODER.encode(value)
    if not text.isascii():
        try:
            characters = len(text.encode())
        except UnicodeEncodeError:
            raise _not_json(what, "half of a character") from None
    if max(characters, len(text)) > bytes_max:
        raise _too_large(what, bytes_max)
    return text


def size_of(text: str) -> int:
    """Give the bytes of a text that ``read`` gave."""
    return len(text) if text.isascii() else len(text.encode())


def _measure(root: Json, what: str, bytes_max: int) -> int:
    """Walk a value level by level; give its characters."""
    level: list[Any] = [root]
    values = characters = depth = 0
    while level:
        values += len(level)
        _check_amount(depth, values, what)
        inner: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is str:
                characters += len(value)
            elif kind is dict:
                for key in value:
                    characters += _key_characters(key, what)
                inner.extend(value.values())
            elif kind is list:
                inner.extend(value)
            elif kind not in _PLAIN:
                _check_number(value, what)
        if characters > bytes_max:
            raise _too_large(what, bytes_max)
        level = inner
        depth += 1
    return characters


def _check_amount(depth: int, values: int, what: str) -> None:
    if depth > ARGUMENT_DEPTH_MAX:
        raise Refused(
            Code.BODY_TOO_DEEP,
            got="deeper nesting",
            expected=f"at most {ARGUMENT_DEPTH_MAX} levels",
            field=what,
        )
    if values > ARGUMENT_VALUES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got="more values",
            expected=f"at most {ARGUMENT_VALUES_MAX} values",
            field=what,
        )


def _key_characters(key: Any, what: str) -> int:
    if type(key) is not str:
        raise _not_json(what, "a key that is no text")
    if len(key) > KEY_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got="a longer key", expected=f"keys of at most {KEY_BYTES_MAX} characters"
        )
    return len(key)


def _check_number(value: Any, what: str) -> None:
    if type(value) is int:
        if not -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX:
            raise _out_of_range(what)
    elif type(value) is not float:
        raise _not_json(what, type(value).__name__)
    elif not math.isfinite(value):
        raise _out_of_range(what)


class Text(NamedTuple):
    """One text of a value: where it is, what it says, and what it is called; a key is called None."""

    path: Path
    text: str
    name: str | None


def texts(root: Json) -> Iterator[Text]:
    """Give every text of a value. ``value`` beside a ``name`` is called by that, as variables are."""
    pending: list[tuple[Path, Any, str]] = [((), root, "")]
    while pending:
        path, value, name = pending.pop()
        kind = type(value)
        if kind is str:
            yield Text(path, value, name)
        elif kind is dict:
            spoken = value.get("name")
            for key, inner in value.items():
                yield Text((*path, key), key, None)
                called = spoken if key == "value" and type(spoken) is str else key
                pending.append(((*path, key), inner, called))
        elif kind is list:
            pending.extend(((*path, i), inner, name) for i, inner in enumerate(value))


def place(text: Text) -> str:
    """Give where a text is, as people read it; of a key, the object that it is in."""
    return spell(text.path) if text.name is not None else f"{spell(text.path[:-1])} (a key)"


def spell(path: Path) -> str:
    """Give a path as people read it, without any strange character."""
    parts = "".join(f"[{p}]" if type(p) is int else f".{p}" for p in path)
    return ascii(parts.lstrip(".")[:200])[1:-1]


def _too_large(what: str, bytes_max: int) -> Refused:
    return Refused(Code.BODY_TOO_LARGE, got="more", expected=f"at most {bytes_max} bytes", field=what)


def _out_of_range(what: str) -> Refused:
    return Refused(
        Code.BODY_NUMBER_OUT_OF_RANGE,
        got="a number out of range",
        expected=f"integers of magnitude at most {JSON_INTEGER_MAX}, finite doubles",
        field=what,
    )


def _not_json(what: str, got: str) -> Refused:
    return Refused(Code.BODY_NOT_JSON, got=got, expected="a JSON value", field=what)
