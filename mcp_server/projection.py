"""What of an entry a model asks for: names of fields, or JMESPath that looks inside them.

Owns the choice. Promises that it sees only what was cleaned before, so that no choice brings back a secret
under another name, and that its time is bounded: each part of an expression costs time in proportion to the
entry (``ledger.health_expression`` says which expressions do), and parts times entry are limited before
anything is looked at. Pure. Source: https://jmespath.org/specification.html.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import jmespath
from jmespath.exceptions import JMESPathError

from ledger.errors import Code, Refused
from ledger.types import Json, JsonObject

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


WORK_MAX = 250_000
"""Parts of expressions times values of the entry: about half a second."""


def project(item: JsonObject, wanted: Sequence[str], known: Collection[str]) -> JsonObject:
    """Give what ``wanted`` chooses of an entry, each under its own text.

    Args:
        item: cleaned JSON.
        wanted: names and restricted expressions.
        known: names that entries of this kind may hold.

    Raises:
        Refused: FIELD_UNKNOWN for a name that entries of this kind never hold; FIELD_INVALID for an
            expression that does not fit what it looks at; LIMIT_EXCEEDED for expressions that are too much
            work for an entry of this size.
    """
    _check_work(item, [text for text in wanted if not _NAME.fullmatch(text)])
    found: JsonObject = {}
    for place, text in enumerate(wanted):
        where = f"arguments.fields[{place}]"
        if _NAME.fullmatch(text):
            if text in item:
                found[text] = item[text]
            elif text not in known:
                told = ", ".join(sorted({*item, *known}))
                raise Refused(Code.FIELD_UNKNOWN, got="a field of another name", expected=told, field=where)
            continue
        try:
            value = jmespath.search(text, item)
        except (JMESPathError, TypeError, ValueError):
            raise Refused(
                Code.FIELD_INVALID,
                got="an expression that does not fit the entry",
                expected="JMESPath of what the entry holds",
                todo="ask once without `fields` to see its form",
                field=where,
            ) from None
        if value is not None:
            found[text] = value
    return found


def _check_work(item: JsonObject, expressions: Sequence[str]) -> None:
    if not expressions:
        return
    parts, values = sum(_parts(text) for text in expressions), _values(item)
    if parts * values > WORK_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"expressions of {parts} parts over an entry of {values} values",
            expected=f"at most {WORK_MAX} together",
            todo="choose by names of fields, by fewer or shorter expressions, or ask for single objects",
            field="arguments.fields",
        )


def _parts(text: str) -> int:
    try:
        left, count = [jmespath.compile(text).parsed], 0
    except JMESPathError:
        return 1
    while left:
        node, count = left.pop(), count + 1
        left += node["children"]
    return count


def _values(item: Json) -> int:
    left: list[Json] = [item]
    count = 0
    while left:
        value, count = left.pop(), count + 1
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
    return count
