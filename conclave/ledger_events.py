"""What the ledger recorded, one event after the other.

Owns the making of events from records. Promises that each comes from a record that was proven, with its
signatures where it has any: CometBFT's own events are proven by nothing (docs/spec/events.md) and are not
asked for. A record that is overwritten tells its newest event only: of reports, each cluster's newest;
whoever watches sees them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from conclave.client import Client
from consensus import ledger_reader, release_reader
from consensus.reader import View
from ledger import freezing
from ledger.errors import ConclaveError
from ledger.receipt import code_of
from ledger.records import FreezeRecord, IncidentRecord, ProposalRecord, ReleaseRecord, ReportRecord, state_at
from ledger.types import JsonObject, ProposalState

HEADERS_BACK_MAX = 200
"""How many heights under the newest the time of a block is looked up; older events may come without one."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        height: of its block; None where the record does not say.
        time: of that block, seconds since the epoch; None where nothing tells it.
        kind: proposal, approval, rejection, execution, failure, expiry, report, incident or freeze.
        by: who did it: a name of this home, a DID, or ``machine``.
        text: for people.
        facts: for programs.
        after: for the order: the height after which it came, where its own is not known.
    """

    height: int | None
    time: int | None
    kind: str
    release: str | None
    by: str | None
    text: str
    facts: JsonObject = field(default_factory=dict)
    after: int = 0

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it another event than the others."""
        shown = tuple(sorted((key, str(value)) for key, value in self.facts.items()))
        return (self.kind, self.height, self.release, self.by, shown)

    def to_json(self) -> JsonObject:
        """Give it for programs."""
        about = {"height": self.height, "time": self.time, "kind": self.kind, "release": self.release}
        return {**about, "by": self.by, "text": self.text, **self.facts}


def events(client: Client, view: View, release: str | None, newest: int) -> list[Event]:
    """Give the events of the newest proposals and incidents, and of what there is one record of each.

    Args:
        client: names people; gives the times of blocks.
        view: the state to read.
        release: of this one only.
        newest: how far back proposals and incidents are read.

    Raises:
        Refused: RELEASE_UNKNOWN. VerificationFailed, EnvironmentFault: as reading.
    """
    found: list[Event] = []
    record = None if release is None else release_reader.release_record(view, release).value
    for proposal in release_reader.proposals(view, newest=newest).value:
        if release in {None, proposal.change.release}:
            found += _of_proposal(client, view, proposal)
    found += [
        _of_incident(client, incident)
        for incident in ledger_reader.incidents(view, newest=newest).value
        if release in {None, incident.release}
    ]
    found += [
        _of_freeze(client, freeze)
        for freeze in ledger_reader.freezes(view).value
        if record is None or _covers(freeze, record)
    ]
    found += [_of_report(client, report) for report in _reports(view, record)]
    return sorted(found, key=lambda event: (event.height or event.after, _ORDER.index(event.kind)))


_ORDER = (
    "proposal",
    "approval",
    "rejection",
    "execution",
    "failure",
    "expiry",
    "incident",
    "freeze",
    "report",
)
"""Of what happened at one height."""


def timed(client: Client, view: View, found: Iterable[Event]) -> list[Event]:
    """Give the events with the times of their blocks, where a verified header near enough tells it."""
    times: dict[int, int | None] = {}
    made = []
    # Newest first: older headers are linked to newer ones.
    for event in reversed(list(found)):
        height = event.height
        if event.time is not None or height is None or height < view.height - HEADERS_BACK_MAX:
            made.append(event)
            continue
        if height not in times:
            times[height] = _time_of(client, height)
        made.append(replace(event, time=times[height]))
    return made[::-1]


def _time_of(client: Client, height: int) -> int | None:
    try:
        return int(client.reader.header(height).header.time_ns // 10**9)
    except ConclaveError:
        return None


def _of_proposal(client: Client, view: View, record: ProposalRecord) -> Iterator[Event]:
    release, number = record.change.release, record.number
    about: JsonObject = {"proposal": number, "operation": record.change.operation}
    under = f", under break-glass {record.break_glass}" if record.break_glass else ""
    proposer = client.home.name_of(record.proposer)
    what = f"proposal {number}: {_change(record)}{under}"
    yield Event(record.height, None, "proposal", release, proposer, what, about)
    for kind, judgements in (("approval", record.approvals), ("rejection", record.rejections)):
        for given in judgements:
            by = client.home.name_of(given.signer)
            yield Event(given.height, None, kind, release, by, f"{kind} of proposal {number}", about)
    state = state_at(record, view.height + 1)
    if state is ProposalState.FINAL:
        made = f" as revision {record.revision}" if record.revision else ""
        text = f"proposal {number} carried out{made}"
        facts = about | {"revision": record.revision, "constitution": record.constitution}
        yield Event(record.final_height, None, "execution", release, "machine", text, facts)
    elif state is ProposalState.FAILED:
        code = None if record.code is None else code_of(record.code)
        name = code.name if code is not None else str(record.code)
        text = f"proposal {number} failed after its delay: {name}"
        after = max((given.height for given in record.approvals), default=record.height)
        yield Event(None, None, "failure", release, "machine", text, about | {"code": name}, after)
    elif state is ProposalState.EXPIRED:
        text = f"proposal {number} expired"
        yield Event(record.expires + 1, None, "expiry", release, "machine", text, about)


def _change(record: ProposalRecord) -> str:
    change = record.change
    if change.operation == "configure":
        return f"configure {' '.join(change.objects)}"
    suffix = f" to {change.to_revision}" if change.to_revision is not None else ""
    return f"{change.operation} {change.release}{suffix}"


def _of_incident(client: Client, record: IncidentRecord) -> Event:
    where = f" on {record.cluster}" if record.cluster else ""
    made = f", revision {record.new_revision} made" if record.new_revision else ""
    text = f"incident {record.number}: {record.kind.value}{where}{made}: {record.reason}"
    facts = {
        "incident": record.number,
        "incidentKind": record.kind.value,
        "revision": record.revision,
        "newRevision": record.new_revision,
        "cluster": record.cluster,
        "subject": record.subject and client.home.name_of(record.subject),
    }
    return Event(record.height, record.time, "incident", record.release, "machine", text, facts)


def _of_freeze(client: Client, record: FreezeRecord) -> Event:
    why = f": {record.reason}" if record.reason else ""
    text = f"freeze {record.name} in force{why}"
    facts = {"freeze": record.name}
    return Event(record.height, record.time, "freeze", None, client.home.name_of(record.by), text, facts)


def _of_report(client: Client, record: ReportRecord) -> Event:
    troubled = [o for o in record.objects if o["code"]]
    more = f", {len(troubled)} of {len(record.objects)} objects with a code" if troubled else ""
    text = f"{record.cluster}: revision {record.revision} {record.outcome}, {record.health}{more}"
    facts = {
        "cluster": record.cluster,
        "revision": record.revision,
        "sequence": record.sequence,
        "outcome": record.outcome,
        "health": record.health,
    }
    by = client.home.name_of(record.reporter)
    return Event(record.height, record.time, "report", record.release, by, text, facts)


def _covers(freeze: FreezeRecord, record: ReleaseRecord) -> bool:
    return freezing.covers(freeze, record.name, record.clusters, (record.namespace,))


def _reports(view: View, record: ReleaseRecord | None) -> Iterator[ReportRecord]:
    clusters = release_reader.clusters(view).value if record is None else record.clusters
    for cluster in clusters:
        names = release_reader.releases(view, cluster).value if record is None else (record.name,)
        for name in names:
            found = release_reader.report(view, cluster, name).value
            if found is not None:
                yield found
