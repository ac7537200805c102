"""Pieces of text that look random: encoded or encrypted content, keys, and identifiers that are as good.

Owns the measure, in whole numbers. Promises that words, camel case and versions are none, and that forms
which are identifiers (digests, DIDs, UUIDs) are told apart. Never decides how much is too much.
Source: docs/spec/mcp-guard.md §4.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from typing import NamedTuple

from mcp_server.guard.limits import ENTROPY_CHARS_MIN, ENTROPY_WINDOW_CHARS, PIECE_CHARS_MIN

_END = r"(?![A-Za-z0-9])"
_PIECE = re.compile(
    rf"(?<![A-Za-z0-9])(?![A-Z]?[a-z]++{_END}|[A-Z]++{_END}|(?:[A-Z]?[a-z]{{2,}}+)++{_END})"
    rf"[A-Za-z0-9]{{{PIECE_CHARS_MIN},}}+"
)
"""A run of letters and digits that is neither a word nor words in camel case."""
_LONG_WORD = re.compile(rf"[A-Za-z]{{{ENTROPY_CHARS_MIN},}}+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_WORDY = re.compile(
    r"(?:[A-Z]{0,6}[a-z]{3,}+[0-9]{0,2}|v[0-9]{1,2}(?:alpha|beta)[0-9]{1,2}|[A-Z]{2,6}(?![a-z]))++"
)
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_IDENTIFIER = re.compile(
    rf"(?<![0-9A-Za-z])(?:(?:sha256:|sha512:)?(?:[0-9a-f]{{128}}|[0-9a-f]{{64}}|[0-9a-f]{{40}}){_END}"
    rf"|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}{_END}"
    r"|did:[a-z0-9]{1,16}:[A-Za-z0-9._:%-]{1,220})"
)


class Found(NamedTuple):
    """What a text holds: identifiers, and pieces that look random."""

    identifiers: tuple[str, ...]
    pieces: tuple[str, ...]


NOTHING = Found((), ())


def may_hold(text: str) -> bool:
    """Tell quickly whether a text has anything that is neither short nor words."""
    return any(p.search(text) is not None for p in (_PIECE, _IDENTIFIER, _LONG_WORD))


def find(text: str) -> Found:
    """Give the identifiers and the opaque pieces of a text."""
    identifiers: list[str] = []
    if _IDENTIFIER.search(text) is not None:
        identifiers = _IDENTIFIER.findall(text)
        text = _IDENTIFIER.sub(" ", text)
    pieces = [p for p in _PIECE.findall(text) if is_opaque(p)]
    pieces += [p for p in _LONG_WORD.findall(text) if _is_even(p) and p not in pieces]
    return Found(tuple(identifiers), tuple(pieces)) if identifiers or pieces else NOTHING


@functools.lru_cache(maxsize=16384)
def is_opaque(piece: str) -> bool:
    """Tell whether letters and digits look random: their kinds change often, or none is frequent."""
    if _WORDY.fullmatch(piece):
        return False
    length = len(piece)
    if length >= 16 and _HEX.fullmatch(piece) and not piece.isalpha():
        return True
    words = len(_WORDS.findall(piece))
    if 4 * (words - 1) >= length or (length >= 12 and words > 2 and not _has_both(piece)):
        return True
    return length >= ENTROPY_CHARS_MIN and _is_even(piece)


def _has_both(piece: str) -> bool:
    """Tell whether a piece has letters of both cases: without, digits between letters are rare in words."""
    return piece not in (piece.lower(), piece.upper())


def _is_even(piece: str) -> bool:
    """Tell whether some window has a collision entropy (Rényi, of order 2) of over log2(20) bits a character.

    Text of any language repeats its letters: two of English are the same one time in 15, two of base64 in 64.
    """
    step = ENTROPY_WINDOW_CHARS // 2
    for start in range(0, max(1, len(piece) - ENTROPY_CHARS_MIN + 1), step):
        window = piece[start : start + ENTROPY_WINDOW_CHARS]
        same = sum(n * (n - 1) for n in Counter(window).values())
        if 20 * same <= len(window) * (len(window) - 1):
            return True
    return False


def mark(piece: str) -> bytes:
    """Give the digest by which a piece is remembered, so that no memory holds what it says."""
    return hashlib.blake2b(piece.encode(), digest_size=8).digest()
