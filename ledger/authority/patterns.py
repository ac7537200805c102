"""Patterns of names: an exact text, ``*``, or a prefix that ends in ``*``. Source: docs/spec/authority.md §1, §2."""

from __future__ import annotations

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


def matches(pattern: str, value: str) -> bool:
    """Tell whether a pattern matches; what is not there is matched by ``*`` alone."""
    if pattern == ANY:
        return True
    if value == NONE:
        return False
    return value == pattern or (pattern.endswith(ANY) and value.startswith(pattern[:-1]))


def any_matches(patterns: Iterable[str], value: str) -> bool:
    """Tell whether one of the patterns matches."""
    return any(matches(pattern, value) for pattern in patterns)


def is_guarded(kind: str) -> bool:
    """Tell whether a kind has to be named: no ``*`` and no prefix covers it."""
    return (
        kind == "Secret"
        or kind.endswith(_GUARDED_GROUPS)
        or (kind.endswith(LEDGER_GROUP) and kind != f"Release{LEDGER_GROUP}")
    )


def kind_matches(patterns: Iterable[str], kind: str, namespace: str) -> bool:
    """Tell whether a role's kinds cover an object: cluster-scoped and guarded ones only by name."""
    named = namespace == NONE or is_guarded(kind)
    return any(pattern == kind if named else matches(pattern, kind) for pattern in patterns)


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
