"""Incidents: what people should look at, kept for ever and told loudly.

Owns their numbering. Source: docs/spec/releases.md §4.
"""

from __future__ import annotations

from abci_app.machine.context import Context
from ledger import records, statekeys
from ledger.limits import REASON_BYTES_MAX
from ledger.records import IncidentKind, IncidentRecord


def record(  # noqa: PLR0913 - an incident names whatever it touches
    ctx: Context,
    kind: IncidentKind,
    reason: str,
    *,
    release: str | None = None,
    revision: int | None = None,
    new_revision: int | None = None,
    cluster: str | None = None,
    subject: str | None = None,
) -> int:
    """Record an incident; give its number."""
    number = records.read_count(ctx.state.get(statekeys.INCIDENTS)) + 1
    incident = IncidentRecord(
        number=number,
        kind=kind,
        height=ctx.height,
        time=ctx.time,
        reason=reason[:REASON_BYTES_MAX],
        release=release,
        revision=revision,
        new_revision=new_revision,
        cluster=cluster,
        subject=subject,
    )
    ctx.state.put(statekeys.INCIDENTS, records.write_count(number))
    ctx.put(statekeys.incident(number), incident)
    ctx.emit(
        "incident",
        number=number,
        kind=kind.value,
        release=release,
        revision=revision,
        new_revision=new_revision,
        cluster=cluster,
        subject=subject,
    )
    return number
