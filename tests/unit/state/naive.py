"""The tree once more, from its definition alone: recursive, slow, obviously right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def naive_root(content: Mapping[bytes, bytes]) -> bytes:
    """Give the ``SmtSpec`` root of ``content``."""
    return _root({_digest(key): _digest(value) for key, value in content.items()}, 0)


def _root(hashed: dict[bytes, bytes], depth: int) -> bytes:
    if not hashed:
        return bytes(32)
    if len(hashed) == 1:
        ((key, value),) = hashed.items()
        return _digest(b"\x00" + key + value)
    sides: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for key, value in hashed.items():
        sides[int.from_bytes(key, "big") >> (255 - depth) & 1][key] = value
    return _digest(b"\x01" + _root(sides[0], depth + 1) + _root(sides[1], depth + 1))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
