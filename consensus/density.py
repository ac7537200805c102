"""How much structure untrusted JSON text may hold for its size.

Parsed, one bracket or comma takes up to thirty times its byte. Owns the count that is made before parsing.
Promises time linear in the bytes and no memory. Never judges what the text says.
"""

from __future__ import annotations

_SLACK = 64
"""Brackets, and commas, that the shortest text may hold."""


def too_dense(content: bytes, *, bytes_per_bracket_min: int, bytes_per_comma_min: int) -> str | None:
    """Tell what makes ``content`` denser than so many bytes for each bracket and comma; None if it is not."""
    brackets, commas = content.count(b"[") + content.count(b"{"), content.count(b",")
    if (
        brackets <= len(content) // bytes_per_bracket_min + _SLACK
        and commas <= len(content) // bytes_per_comma_min + _SLACK
    ):
        return None
    return f"{brackets} brackets and {commas} commas in {len(content)} bytes"
