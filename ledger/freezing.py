"""Whom a freeze stops: the one question the machine and every bridge ask alike.

Source: docs/spec/ledger.md §2.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.authority.patterns import matches
from ledger.records import FreezeRecord


def covers(
    freeze: FreezeRecord, release: str | None, clusters: Iterable[str], namespaces: Iterable[str]
) -> bool:
    """Tell whether a freeze lies on a release, on any of these clusters, in any of these namespaces."""
    return (
        _any(freeze.releases, () if release is None else (release,))
        and _any(freeze.clusters, clusters)
        and _any(freeze.namespaces, namespaces)
    )


def _any(patterns: tuple[str, ...], values: Iterable[str]) -> bool:
    return any(matches(pattern, value) for value in values for pattern in patterns)
