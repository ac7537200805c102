"""The one byte form of JSON on the ledger: RFC 8785. Any other form is refused, never normalised.

Owns strict parsing (``load``) and writing (``dump``). Promises that ``load`` accepts exactly the bytes
that ``dump`` would give for what they mean, and raises only ``Refused``.

Source: RFC 8785 (JSON Canonicalization Scheme), RFC 8259.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any, NoReturn

import rfc8785

from ledger.errors import Code, Refused
from ledger.limits import BODY_BYTES_MAX, JSON_DEPTH_MAX, JSON_INTEGER_MAX
from ledger.types import Json, JsonObject


def load(content: bytes, *, bytes_max: int = BODY_BYTES_MAX) -> Json:
    """Parse canonical JSON.

    Args:
        content: the bytes as received.
        bytes_max: refuse more than this before parsing.

    Raises:
        Refused: BODY_TOO_LARGE, BODY_NOT_JSON, BODY_TOO_DEEP, BODY_NUMBER_OUT_OF_RANGE, or
            BODY_NOT_CANONICAL with the offset of the first byte that differs.
    """
    if len(content) > bytes_max:
        raise Refused(Code.BODY_TOO_LARGE, got=f"{len(content)} bytes", expected=f"at most {bytes_max}")
    # A key that comes twice is lost here and missed below, where the bytes are compared.
    value = _decode(content, _DECODER)
    canonical = dump(value)
    if canonical != content:
        offset = _first_difference(canonical, content)
        raise Refused(
            Code.BODY_NOT_CANONICAL,
            got=content[offset : offset + 20],
            expected="RFC 8785 bytes: sorted unique keys, no spaces, shortest numbers",
            todo="sign what ledger.canonical.dump gives",
            offset=offset,
        )
    return value


def parse(content: bytes) -> Json:
    """Parse JSON text within the ledger's limits, in any spelling; a key twice in one object is refused.

    Raises:
        Refused: BODY_NOT_JSON, BODY_TOO_DEEP or BODY_NUMBER_OUT_OF_RANGE.
    """
    return _decode(content, _STRICT_DECODER)


def canonicalize(content: bytes) -> bytes:
    """Give the RFC 8785 form of JSON text; numbers are doubles, as the RFC has them (§3.2.2.3).

    The ledger itself takes no such numbers: ``load`` refuses them.

    Raises:
        Refused: BODY_NOT_JSON, BODY_TOO_DEEP, BODY_NUMBER_OUT_OF_RANGE beyond the finite doubles.
    """
    return dump(_decode(content, _DOUBLES_DECODER))


def load_plain(content: bytes) -> Json:
    """Read what ``dump_plain`` wrote and somebody trusted vouches for: its spelling is not checked again.

    Raises:
        Refused: BODY_NOT_JSON, BODY_TOO_DEEP or BODY_NUMBER_OUT_OF_RANGE.
    """
    return _decode(content, _DECODER)


def _decode(content: bytes, decoder: json.JSONDecoder) -> Json:
    _check_depth(content)
    try:
        value: Json = decoder.decode(content.decode("utf-8", "strict"))
    except (ValueError, UnicodeDecodeError) as error:
        offset = getattr(error, "pos", getattr(error, "start", 0))
        raise Refused(
            Code.BODY_NOT_JSON, got=content[offset : offset + 20], expected="JSON in UTF-8", offset=offset
        ) from None
    return value


def dump(value: Json) -> bytes:
    """Write ``value`` in its RFC 8785 form.

    Raises:
        Refused: BODY_NOT_JSON for what JSON cannot say, BODY_NUMBER_OUT_OF_RANGE, BODY_TOO_DEEP.
    """
    try:
        if _is_plain(value):
            # Same bytes as RFC 8785 where there are no floats and keys stay in the BMP; six times faster.
            return dump_plain(value)
        return rfc8785.dumps(value)
    except RecursionError:
        raise _too_deep() from None
    except rfc8785.IntegerDomainError:
        raise _out_of_range("an integer") from None
    except (rfc8785.CanonicalizationError, ValueError, TypeError) as error:
        raise Refused(Code.BODY_NOT_JSON, got=type(error).__name__, expected="a JSON value") from None


def dump_plain(value: Json) -> bytes:
    """Write a value of ASCII keys, text and integers in range, as every record is. Same bytes as ``dump``."""
    return _ENCODER.encode(value).encode("utf-8")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_plain(root: Json) -> bool:
    """Tell whether ``root`` has only BMP string keys, no floats and no out-of-range integers."""
    pending: list[Any] = [root]
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind is dict:
            for key in value:
                if type(key) is not str or (not key.isascii() and max(key) > "\ud7ff"):
                    return False
            pending.extend(value.values())
        elif kind is list:
            pending.extend(value)
        elif kind is int:
            if not -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX:
                return False
        elif kind is not str and kind is not bool and value is not None:
            return False
    return True


def _check_depth(content: bytes) -> None:
    """Refuse deep nesting before the parser meets it.

    The parser's own limit depends on how deep the caller's stack is, so two honest nodes could otherwise give
    one malformed body different codes.
    """
    if content.count(b"[") + content.count(b"{") <= JSON_DEPTH_MAX:
        return
    brackets = _STRING.sub(b"", content).translate(_STEPS, _NOT_BRACKETS)
    if max(itertools.accumulate(1 if step == 1 else -1 for step in brackets), default=0) > JSON_DEPTH_MAX:
        raise _too_deep()


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A string, or an unfinished one to the end: possessive, so that no text is read twice."""
_STEPS = bytes.maketrans(b"[{]}", b"\1\1\2\2")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _first_difference(left: bytes, right: bytes) -> int:
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _integer(text: str) -> int:
    if len(text) <= 17:
        value = int(text)
        if -JSON_INTEGER_MAX <= value <= JSON_INTEGER_MAX:
            return value
    raise _out_of_range(text[:40])


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _out_of_range(text[:40])
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise Refused(Code.BODY_NOT_JSON, got=text, expected="a finite number")


def _out_of_range(got: str) -> Refused:
    return Refused(
        Code.BODY_NUMBER_OUT_OF_RANGE,
        got=got,
        expected=f"integers of magnitude at most {JSON_INTEGER_MAX}, finite doubles",
        todo="write large numbers as strings",
    )


def _too_deep() -> Refused:
    return Refused(Code.BODY_TOO_DEEP, got="deeper nesting", expected=f"at most {JSON_DEPTH_MAX} levels")


def _unique(pairs: list[tuple[str, Json]]) -> JsonObject:
    found: JsonObject = {}
    for key, value in pairs:
        if key in found:
            raise Refused(Code.BODY_NOT_JSON, got=f"the key {key!r} twice", expected="each key once")
        found[key] = value
    return found


def _double(text: str) -> int | float:
    return int(text) if len(text) <= 15 else _float(text)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float)
_STRICT_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float, object_pairs_hook=_unique
)
_DOUBLES_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_double, parse_float=_float, object_pairs_hook=_unique
)
