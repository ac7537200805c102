"""The words for how an object is doing, and reading its conditions.

Owns ``HealthStatus``, ``Health`` and the shape of ``status.conditions``. Promises that malformed conditions
read as absent ones. Never judges: the rules are in ``health_rules``, the judge is ``health``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from k8s_bridge.objects import field
from ledger.types import JsonObject


class HealthStatus(enum.StrEnum):
    """How an object is doing (docs/spec/ledger.md §2, Report)."""

    CURRENT = "current"
    IN_PROGRESS = "in_progress"
    FAILED = "failed"
    TERMINATING = "terminating"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """A status and why, for people."""

    status: HealthStatus
    reason: str


def conditions(live: JsonObject) -> list[JsonObject]:
    """Give ``status.conditions``, leaving out what is no condition."""
    found = field(live, "status", "conditions")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def condition_of(live: JsonObject, kind: str) -> JsonObject | None:
    """Give the condition of type ``kind``, if there is one."""
    return next((entry for entry in conditions(live) if entry.get("type") == kind), None)


def said(condition: JsonObject) -> str:
    """Give what a condition says, for people."""
    parts = [str(condition[name]) for name in ("reason", "message") if condition.get(name)]
    return ": ".join(parts) or f"{condition.get('type')}={condition.get('status')}"
