"""A walk over the outer fields of CommitmentProof bytes before a parser builds anything from them.

Owns the bound on what parsing costs: a few megabytes of empty path steps would else become hundreds of
megabytes of objects. Promises nothing about meaning; ``state.proof`` judges that.
"""

from __future__ import annotations

from state.limits import TREE_DEPTH_MAX
from state.refusal import refuse

_EXIST, _NONEXIST = 1, 2
_LEFT, _RIGHT = 2, 3
_EXISTENCE_FIELDS_MAX = 3 + TREE_DEPTH_MAX
_LENGTH_DELIMITED = 2


def check_fields(raw: bytes) -> None:
    """Refuse a proof with more fields than a proof of the deepest tree has, or one of a batch form.

    Raises:
        VerificationFailed: PROOF_INVALID.
    """
    for number, start, end in _fields(raw, 0, len(raw), 1):
        if number == _EXIST:
            _fields(raw, start, end, _EXISTENCE_FIELDS_MAX)
        elif number == _NONEXIST:
            for inner, low, high in _fields(raw, start, end, 3):
                if inner in (_LEFT, _RIGHT):
                    _fields(raw, low, high, _EXISTENCE_FIELDS_MAX)
        else:
            raise refuse("kind", got=f"field {number}", expected="one existence or one absence proof")


def _fields(raw: bytes, at: int, end: int, most: int) -> list[tuple[int, int, int]]:
    """List (number, start, end) of the delimited fields of ``raw[at:end]``; a proof has no others."""
    found: list[tuple[int, int, int]] = []
    while at < end:
        tag, at = _varint(raw, at, end)
        size, at = _varint(raw, at, end)
        if tag & 7 != _LENGTH_DELIMITED or at + size > end or len(found) == most:
            raise refuse("encoding", expected=f"at most {most} length-delimited fields")
        found.append((tag >> 3, at, at + size))
        at += size
    return found


def _varint(raw: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for count in range(5):
        if at + count >= end:
            break
        byte = raw[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise refuse("encoding", expected="a varint of at most five bytes")
