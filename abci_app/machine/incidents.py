"""Incidents: what people should look at, kept for ever and told loudly.

Owns their numbering. Source: docs/spec/releases.md §4.
"""

from __future__ import annotations

from dataclasses import dataclass

from abci_app.machine.context import Context
from ledger import records, statekeys
from ledger.limits import REASON_BYTES_MAX
from ledger.records import IncidentKind, IncidentRecord


@dataclass(frozen=True, slots=True)
class About:
    """What an incident touches."""

    release: str | None = None
    revision: int | None = None
    new_revision: int | None = None
    cluster: str | None = None
    subject: str | None = None


def record(ctx: Context, kind: IncidentKind, reason: str, about: About) -> int:
    """Record an incident; give its number."""
    number = records.read_count(ctx.state.get(statekeys.INCIDENTS)) + 1
    incident = IncidentRecord(
        number=number,
        kind=kind,
        height=ctx.height,
        time=ctx.time,
        reason=reason[:REASON_BYTES_MAX],
        release=about.release,
        revision=about.revision,
        new_revision=about.new_revision,
        cluster=about.cluster,
        subject=about.subject,
    )
    ctx.state.put(statekeys.INCIDENTS, records.write_count(number))
    ctx.put(statekeys.incident(number), incident)
    ctx.emit(
        "incident",
        number=number,
        kind=kind.value,
        release=about.release,
        revision=about.revision,
        new_revision=about.new_revision,
        cluster=about.cluster,
        subject=about.subject,
    )
    return number
