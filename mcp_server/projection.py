"""What of an entry a model asks for: names of fields, or JMESPath that looks inside them.

Owns the choice. Promises that it sees only what was cleaned before, so that no choice brings back a secret
under another name, and that it costs time and memory in proportion to the entry (``ledger.health_expression``
says which expressions do). Pure. Source: https://jmespath.org/specification.html.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import jmespath
from jmespath.exceptions import JMESPathError

from ledger.errors import Code, Refused
from ledger.types import JsonObject

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def project(item: JsonObject, wanted: Sequence[str], known: Collection[str]) -> JsonObject:
    """Give what ``wanted`` chooses of an entry, each under its own text.

    Args:
        item: cleaned JSON.
        wanted: names and restricted expressions.
        known: names that entries of this kind may hold.

    Raises:
        Refused: FIELD_UNKNOWN for a name that entries of this kind never hold; FIELD_INVALID for an
            expression that does not fit what it looks at.
    """
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
