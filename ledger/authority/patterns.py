"""Patterns of names: an exact text, ``*``, or a prefix that ends in ``*``.

Owns what a pattern matches and which kinds have to be named. Promises that what is not there is matched by
``*`` alone. Never looks at roles or rules. Source: docs/spec/authority.md §1, §2.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ledger import shape
from ledger.errors import Code, Refused
from ledger.limits import PATTERN_BYTES_MAX, PATTERNS_MAX
from ledger.types import Json

ANY = "*"
NONE = "-"
"""Stands where there is no namespace or no cluster."""
LEDGER_GROUP = ".conclave.internal"
_GUARDED_GROUPS = (".rbac.authorization.k8s.io", ".admissionregistration.k8s.io")


class PatternSet:
    """A list of patterns, made ready to be asked often. Never changed after it is made."""

    __slots__ = ("exact", "is_any", "prefixes")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.is_any = ANY in patterns
        self.exact = frozenset(patterns)
        self.prefixes = tuple(p[:-1] for p in patterns if p.endswith(ANY))

    def match(self, value: str) -> bool:
        """Tell whether one of the patterns matches."""
        if self.is_any:
            return True
        return value != NONE and (value in self.exact or value.startswith(self.prefixes))

    def match_kind(self, kind: str, namespace: str) -> bool:
        """Tell whether kinds cover an object: cluster-scoped and guarded ones only by name."""
        if namespace == NONE or is_guarded(kind):
            return kind in self.exact
        return self.match(kind)


@functools.lru_cache(maxsize=8192)
def compiled(patterns: tuple[str, ...]) -> PatternSet:
    """Give a list of patterns, ready to be asked."""
    return PatternSet(patterns)


def matches(pattern: str, value: str) -> bool:
    """Tell whether a pattern matches; what is not there is matched by ``*`` alone."""
    return compiled((pattern,)).match(value)


def any_matches(patterns: Iterable[str], value: str) -> bool:
    """Tell whether one of the patterns matches."""
    return compiled(tuple(patterns)).match(value)


def kind_matches(patterns: Iterable[str], kind: str, namespace: str) -> bool:
    """Tell whether a role's kinds cover an object: cluster-scoped and guarded ones only by name."""
    return compiled(tuple(patterns)).match_kind(kind, namespace)


@functools.lru_cache(maxsize=8192)
def is_guarded(kind: str) -> bool:
    """Tell whether a kind has to be named: no ``*`` and no prefix covers it."""
    return (
        kind == "Secret"
        or kind.endswith(_GUARDED_GROUPS)
        or (kind.endswith(LEDGER_GROUP) and kind != f"Release{LEDGER_GROUP}")
    )


def read_patterns(value: Json, where: str) -> tuple[str, ...]:
    """Read a list of patterns: sorted, each once, at least one.

    Raises:
        Refused: FIELD_INVALID or LIMIT_EXCEEDED.
    """
    items = shape.array(value, where, items_max=PATTERNS_MAX)
    found = [shape.text(v, f"{where}[{i}]", bytes_max=PATTERN_BYTES_MAX) for i, v in enumerate(items)]
    if not found or found != sorted(set(found)):
        raise shape.invalid(where, found, "patterns, sorted, each once, at least one")
    for pattern in found:
        if ANY in pattern[:-1]:
            raise Refused(
                Code.FIELD_INVALID, got=pattern, expected="a text, *, or a prefix that ends in *", field=where
            )
    return tuple(found)
