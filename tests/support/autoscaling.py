"""One cluster's scale over time, for tests of the autoscale rule."""

from __future__ import annotations

import dataclasses
from typing import Any

from abci_app import autoscaling
from abci_app.autoscaling import ScaleDecision
from ledger import autoscale
from ledger.autoscale import AutoscaleRule, Direction, MetricTarget, ScaleRecord
from ledger.records import MetricRecord

WEB = "apps/v1/Deployment/demo/web"
NOW = Direction()
RULE = AutoscaleRule(
    WEB, 1, 20, 4, (MetricTarget("requests", 10),), window_seconds=0, scale_up=NOW, scale_down=NOW
)


def ruled(**changed: Any) -> AutoscaleRule:
    """Give the rule with other fields."""
    return dataclasses.replace(RULE, **changed)


class Cluster:
    """One cluster's scale over time: a report at a time, decided one after the other."""

    def __init__(self, rule: AutoscaleRule) -> None:
        self.rule = rule
        self.record: ScaleRecord | None = None
        self.decisions: tuple[ScaleDecision, ...] = ()

    def replicas(self) -> int:
        """Give the replicas that hold."""
        assert self.record is not None
        return self.record.objects[0].replicas

    def report(self, time: int, replicas: int | None = None, **metrics: int) -> int:
        """Report metrics at a time; give the replicas that hold then."""
        holds = self.replicas() if self.record else self.rule.initial_replicas
        had = holds if replicas is None else replicas
        found = tuple(MetricRecord(WEB, name, value, had) for name, value in metrics.items())
        self.record, self.decisions = autoscaling.decide_all((self.rule,), self.record, found, time)
        assert autoscale.read(autoscale.write(self.record)) == self.record
        return self.replicas()
