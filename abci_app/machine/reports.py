"""Reports of bridges: kept, and what they move.

Owns the newest report of each cluster on each release. Promises that a report moves only the rollout of the
revision it is about, and scales only from what was reported. Source: docs/spec/releases.md §5, §6.
"""

from __future__ import annotations

import dataclasses

from abci_app import autoscaling, indexes, rules
from abci_app.check import Admitted
from abci_app.machine import progress
from abci_app.machine.context import Context
from abci_app.machine.world import content_record, release_record, revision_record
from abci_app.rollouts import Observation
from ledger import autoscale, records, release_spec, statekeys
from ledger.actions import Report
from ledger.records import DesiredState, ReportRecord

_LEFT = ("deleted", "skipped")
"""What a bridge says of the objects of a release that is deleted, with or without them."""


def check(ctx: Context, admitted: Admitted, report: Report) -> None:
    """Judge whether a report may be kept.

    Raises:
        Refused: as ``rules.check_report``.
    """
    last = records.read_count(ctx.state.get(statekeys.report_sequence(report.cluster)))
    current = release_record(ctx.state, report.release)
    if current is not None and progress.desired_record(ctx.state, report.cluster, report.release) is not None:
        # It may still be deleting what the release has long left behind.
        clusters = tuple(sorted({*current.clusters, report.cluster}))
        current = dataclasses.replace(current, clusters=clusters)
    rules.check_report(report, admitted.signer, current, last)


def report(ctx: Context, admitted: Admitted, said: Report, tx: bytes) -> None:
    """Keep a report and do what follows from it.

    Raises:
        Refused: as ``check``.
    """
    check(ctx, admitted, said)
    record = ReportRecord(
        cluster=said.cluster,
        release=said.release,
        revision=said.revision,
        sequence=said.sequence,
        outcome=said.outcome,
        health=said.health,
        objects=said.objects,
        metrics=said.metrics,
        height=ctx.height,
        time=ctx.time,
        reporter=admitted.signer.did,
    )
    ctx.put(statekeys.report(said.cluster, said.release), record)
    ctx.state.put(statekeys.report_envelope(said.cluster, said.release), tx)
    ctx.state.put(statekeys.report_sequence(said.cluster), records.write_count(said.sequence))
    ctx.emit(
        "report",
        cluster=said.cluster,
        release=said.release,
        revision=said.revision,
        outcome=said.outcome,
        health=said.health,
    )
    desired = progress.desired_record(ctx.state, said.cluster, said.release)
    if desired is None or desired.revision != said.revision:
        return
    if desired.state is DesiredState.DELETED:
        _gone(ctx, said)
        return
    _scale(ctx, said)
    rollout = progress.rollout_record(ctx.state, said.release)
    if rollout is not None and rollout.revision == said.revision:
        current = sum(item["health"] == "current" for item in said.objects if item["outcome"] != "deleted")
        total = sum(item["outcome"] != "deleted" for item in said.objects)
        progress.observe(ctx, rollout, Observation(said.cluster, said.outcome, said.health, current, total))


def _gone(ctx: Context, said: Report) -> None:
    """Forget what a cluster should have, once it has deleted it or let it go.

    A report of the same revision from before the deletion may still be under way; it names what is there.
    """
    if said.outcome != "applied" or any(item["outcome"] not in _LEFT for item in said.objects):
        return
    ctx.state.delete(statekeys.desired(said.cluster, said.release))
    indexes.remove(ctx.state, statekeys.cluster_releases(said.cluster), said.release)


def _scale(ctx: Context, said: Report) -> None:
    revision = revision_record(ctx.state, said.release, said.revision)
    spec = content_record(ctx.state, revision.content).spec
    scale_rules = release_spec.read_autoscale(spec, "spec")
    key = statekeys.scale(said.cluster, said.release)
    before = ctx.state.get(key)
    if not scale_rules:
        if before is not None:
            ctx.state.delete(key)
        return
    record, decisions = autoscaling.decide_all(
        scale_rules, None if before is None else autoscale.read(before), said.metrics, ctx.time
    )
    content = autoscale.write(record)
    if content != before:
        ctx.state.put(key, content)
    for decision in decisions:
        ctx.emit("scale", cluster=said.cluster, release=said.release, **decision.attributes())
