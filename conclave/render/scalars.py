"""What a plain YAML scalar means, as Kubernetes reads it.

Owns scalar resolution. Promises the values kubectl would send: sigs.k8s.io/yaml (goyaml.v2) takes YAML
1.1 words as booleans (``yes``, ``on``, ``y``), octal by a leading 0, no base-60 numbers, and leaves dates
as text. A file that means one thing here therefore means the same under kubectl. Pure.
"""

from __future__ import annotations

import re

from ledger.types import Json

_WORDS: dict[str, Json] = dict.fromkeys(("", "~", "null", "Null", "NULL"), None)
_WORDS |= dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True)
_WORDS |= dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False)
_NOT_FINITE = frozenset(
    f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF", "nan", "NaN", "NAN")
)
_DATE = re.compile(r"^[0-9]{4}-")
_INTEGER = re.compile(r"^([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_BASES = {"x": 16, "b": 2, "o": 8}

SCALAR_DIGITS_MAX = 400
"""Longer digit strings are no number anyone needs; the bound keeps conversion cheap."""


class NotFiniteError(ValueError):
    """The scalar is an infinity or not a number: JSON has neither."""


class TooManyDigitsError(ValueError):
    """The scalar is a number of more than ``SCALAR_DIGITS_MAX`` digits."""


def plain_value(text: str) -> Json:
    """Give the value of an unquoted scalar without a tag: None, bool, int, float or str.

    An integral float comes back as int: JSON writes both the same way.

    Raises:
        NotFiniteError: ``.inf``, ``.nan`` and the like.
        TooManyDigitsError: a number too long to read.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if text in _NOT_FINITE:
        raise NotFiniteError(text)
    if _DATE.match(text):
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    return _number(digits, text)


def _number(digits: str, text: str) -> Json:
    integer = _INTEGER.match(digits)
    if integer is None and not _FLOAT.match(digits):
        return text
    if len(digits) > SCALAR_DIGITS_MAX:
        raise TooManyDigitsError(text[:32])
    if integer is not None:
        return _integer(integer.group(1), integer.group(2).lower())
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        return text
    return int(value) if value.is_integer() else value


def _integer(sign: str, digits: str) -> int:
    base = 10
    if len(digits) > 1 and digits[0] == "0":
        base = _BASES.get(digits[1], 8)
    value = int(digits[2:] if base in (16, 2) or digits[1:2] == "o" else digits, base)
    return -value if sign == "-" else value
