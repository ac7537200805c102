"""How much structure untrusted JSON text may hold for its size.

Parsed, one bracket or comma takes up to thirty times its byte; within a string it takes no more than any
other character, and others than the node may have chosen it (a refusal names what it refused). Owns the count
that is made before parsing. Promises time linear in the bytes and no memory. Never judges what the text says.
"""

from __future__ import annotations

import re

_SLACK = 64
"""Brackets, and commas, that the shortest text may hold."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A JSON string; one that does not end goes to the end of the text, so that no byte is read twice."""


def too_dense(content: bytes, *, bytes_per_bracket_min: int, bytes_per_comma_min: int) -> str | None:
    """Tell what makes ``content`` denser than so many bytes for each bracket and comma; None if it is not."""
    brackets_max = len(content) // bytes_per_bracket_min + _SLACK
    commas_max = len(content) // bytes_per_comma_min + _SLACK
    brackets, commas = _counted(content, 0, len(content))
    if brackets <= brackets_max and commas <= commas_max:
        return None
    # Rare, so that the slow count is: what stands outside strings.
    brackets = commas = end = 0
    for string in _STRING.finditer(content):
        more = _counted(content, end, string.start())
        brackets, commas, end = brackets + more[0], commas + more[1], string.end()
        if brackets > brackets_max or commas > commas_max:
            break
    else:
        more = _counted(content, end, len(content))
        brackets, commas = brackets + more[0], commas + more[1]
        if brackets <= brackets_max and commas <= commas_max:
            return None
    return f"{brackets} brackets and {commas} commas in {len(content)} bytes"


def _counted(content: bytes, start: int, end: int) -> tuple[int, int]:
    brackets = content.count(b"[", start, end) + content.count(b"{", start, end)
    return brackets, content.count(b",", start, end)
