"""Health of kinds by the rules that their release brings along.

Owns the evaluation of signed expressions on live objects. Promises a bounded amount of work for any object,
and that only the value true counts: what cannot be read is unknown, never healthy.

Source: docs/spec/releases.md §1 (``healthRules``); ``ledger.health_expression`` says what may be in a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jmespath
from jmespath.exceptions import JMESPathError

from k8s_bridge.health import generic_health
from k8s_bridge.objects import field
from k8s_bridge.status import Health, HealthStatus
from ledger.authority.scope import kind_of_manifest
from ledger.health_expression import KindHealth
from ledger.types import JsonObject

VALUES_MAX = 20_000
"""Values of an object that a rule is asked about; one pass over so many takes some ten milliseconds."""
Readings = Mapping[str, KindHealth]
"""Rules by ``Kind.group``."""


def readings_of(rules: Iterable[KindHealth]) -> Readings:
    """Give rules by their kind."""
    return {rule.kind: rule for rule in rules}


def read_custom(readings: Readings, live: JsonObject) -> Health | None:
    """Judge an object by its release's rule; None where the release has none for its kind.

    Deletion, an unobserved generation and the standard conditions are judged before, as for every kind.
    """
    api_version, kind = live.get("apiVersion"), live.get("kind")
    if not readings or not isinstance(api_version, str) or not isinstance(kind, str):
        return None
    rule = readings.get(kind_of_manifest(api_version, kind))
    if rule is None:
        return None
    return generic_health(live) or _by_rule(rule, live)


def _by_rule(rule: KindHealth, live: JsonObject) -> Health:
    seen = {name: live.get(name) for name in ("metadata", "spec", "status")}
    # Who owns which field says nothing about health, and is most of a large object.
    metadata = seen["metadata"] if isinstance(seen["metadata"], dict) else {}
    seen["metadata"] = {name: value for name, value in metadata.items() if name != "managedFields"}
    if not _is_small(seen):
        return Health(HealthStatus.UNKNOWN, f"more than {VALUES_MAX} values: too large for its health rule")
    try:
        if rule.failed is not None and jmespath.search(rule.failed, seen) is True:
            return Health(HealthStatus.FAILED, f"its release's rule: {rule.failed}")
        if jmespath.search(rule.current, seen) is True:
            return Health(HealthStatus.CURRENT, f"its release's rule: {rule.current}")
    except (JMESPathError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Health(HealthStatus.UNKNOWN, f"its release's rule does not fit it: {reason}")
    phase = field(live, "status", "phase")
    return Health(HealthStatus.IN_PROGRESS, f"not yet {rule.current}" + (f", phase {phase}" if phase else ""))


def _is_small(value: object) -> bool:
    pending, seen = [value], 0
    while pending:
        found = pending.pop()
        seen += 1
        if seen + len(pending) > VALUES_MAX:
            return False
        if isinstance(found, dict):
            pending += found.values()
        elif isinstance(found, list):
            pending += found
    return True
