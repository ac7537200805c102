"""Whether what somebody waits for is there, may still come, or can come no more.

Owns the conditions of ``conclave wait``. Promises that each is judged on verified records alone, and that
what can come no more is told at once, with the code that says why. Pure but for what it reads through a view;
never sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from conclave import standing
from conclave.client import Client
from conclave.standing import Sync
from consensus import release_reader
from consensus.reader import View
from ledger.errors import Code, Refused
from ledger.receipt import code_of
from ledger.records import ProposalRecord, ReleaseRecord, ReleaseState, state_at
from ledger.rollout import RolloutRecord, RolloutState
from ledger.types import JsonObject, ProposalState

OF_PROPOSALS = ("approved", "final", "closed")
OF_RELEASES = ("applied", "healthy", "complete", "gone")
_OVER = frozenset({ProposalState.REJECTED, ProposalState.FAILED, ProposalState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is waited for.

    Attributes:
        condition: one of ``OF_PROPOSALS`` or ``OF_RELEASES``.
        proposal: its number or id; None where a release was named.
        release: its name; None where a proposal was named.
        revision: the release's newest when the waiting began; a proposal's own once it is final.
        clusters: those that count; all of the release's where none is named.
    """

    condition: str
    proposal: str | int | None = None
    release: str | None = None
    revision: int | None = None
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether it is reached, and where it stands, for people and for programs."""

    reached: bool
    said: str
    facts: JsonObject


def look(client: Client, view: View, wish: Wish) -> Standing:
    """Judge a wish at one height.

    Raises:
        Refused: what can come no more: PROPOSAL_NOT_OPEN or the code a proposal failed with,
        REVISION_CONFLICT where
            another revision took over, ROLLOUT_STATE_CONFLICT where the rollout failed, RELEASE_NOT_ACTIVE;
            USAGE for a condition of releases on a proposal that is of none, and as reading.
    """
    if wish.proposal is None:
        return _of_release(client, view, wish, wish.release or "", wish.revision)
    record = release_reader.proposal(view, wish.proposal).value
    state = state_at(record, view.height + 1)
    facts: JsonObject = {"proposal": record.id, "number": record.number, "state": state.value}
    if state in _OVER and wish.condition != "closed":
        raise _over(record, state, wish.condition)
    said = f"proposal {record.number} is {state.value}"
    if wish.condition in OF_PROPOSALS:
        return Standing(_is_reached(wish.condition, state), said, facts | {"revision": record.revision})
    if record.change.release is None:
        raise Refused(
            Code.USAGE,
            got=f"--for={wish.condition} of proposal {record.number}, which is of ledger objects",
            expected=f"--for={'|'.join(OF_PROPOSALS)}",
        )
    if state is not ProposalState.FINAL:
        return Standing(False, said, facts)
    found = _of_release(client, view, wish, record.change.release, record.revision)
    return Standing(found.reached, found.said, facts | found.facts)


def _is_reached(condition: str, state: ProposalState) -> bool:
    reached = {
        "approved": {ProposalState.APPROVED, ProposalState.FINAL},
        "final": {ProposalState.FINAL},
        "closed": {ProposalState.FINAL, *_OVER},
    }
    return state in reached[condition]


def _over(record: ProposalRecord, state: ProposalState, condition: str) -> Refused:
    code = None if record.code is None else code_of(record.code)
    return Refused(
        code or Code.PROPOSAL_NOT_OPEN,
        got=f"proposal {record.number} is {state.value}",
        expected=f"one that can still become {condition}",
        todo="propose again",
        number=record.number,
        state=state.value,
    )


def _of_release(client: Client, view: View, wish: Wish, name: str, revision: int | None) -> Standing:
    record = release_reader.release_record(view, name).value
    wanted = record.revision if revision is None else revision
    rows = _chosen(standing.rows(client, view, [name]), wish.clusters)
    facts: JsonObject = {"release": name, "revision": wanted, "clusters": [_brief(row) for row in rows]}
    if wish.condition == "gone":
        gone = record.state is ReleaseState.DELETED
        missing = [row for row in rows if row["sync"] != Sync.SYNCED] if gone else rows
        said = (
            (_said(missing) or f"{name} is gone") if gone else f"{name} is {record.state.value}, not deleted"
        )
        return Standing(gone and not missing, said, facts)
    rollout = release_reader.rollout(view, name).value
    _check_possible(record, rollout, wanted, wish.condition)
    if wish.condition == "complete":
        done = rollout is not None and (rollout.revision, rollout.state) == (wanted, RolloutState.COMPLETE)
        state = "none yet" if rollout is None else f"{rollout.state.value}, revision {rollout.revision}"
        return Standing(done, f"the rollout of {name} is {state}", facts)
    missing = [row for row in rows if not _is_there(row, wanted, healthy=wish.condition == "healthy")]
    # What is old may have changed since.
    if view.is_stale and not missing:
        return Standing(False, f"{name} was {wish.condition}, but the newest header is old", facts)
    return Standing(not missing, _said(missing) or f"{name} revision {wanted} is {wish.condition}", facts)


def _check_possible(
    record: ReleaseRecord, rollout: RolloutRecord | None, wanted: int, condition: str
) -> None:
    """Refuse what can come no more."""
    where: JsonObject = {"release": record.name, "revision": wanted}
    expected = f"revision {wanted} to become {condition}"
    if record.state is not ReleaseState.ACTIVE:
        raise Refused(Code.RELEASE_NOT_ACTIVE, got=f"it is {record.state.value}", expected=expected, **where)
    if record.revision > wanted:
        raise Refused(
            Code.REVISION_CONFLICT,
            got=f"revision {record.revision} took over",
            expected=expected,
            todo="see: conclave history",
            **where,
        )
    if rollout is None or rollout.revision != wanted:
        return
    if rollout.state in {RolloutState.FAILED, RolloutState.WITHDRAWN}:
        reasons = [f"{place.name}: {place.reason}" for place in rollout.clusters if place.reason]
        raise Refused(
            Code.ROLLOUT_STATE_CONFLICT,
            got=f"its rollout is {rollout.state.value}" + (f" ({'; '.join(reasons)})" if reasons else ""),
            expected=expected,
            todo="see: conclave status, conclave get incidents",
            **where,
        )


def _chosen(rows: list[JsonObject], clusters: tuple[str, ...]) -> list[JsonObject]:
    unknown = sorted(set(clusters) - {row["cluster"] for row in rows})
    if unknown:
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=", ".join(unknown),
            expected=", ".join(str(row["cluster"]) for row in rows),
        )
    return [row for row in rows if not clusters or row["cluster"] in clusters]


def _is_there(row: JsonObject, revision: int, *, healthy: bool) -> bool:
    applied = row["sync"] == Sync.SYNCED and row["appliedRevision"] == revision
    return applied and (row["health"] == "current" or not healthy)


def _brief(row: JsonObject) -> JsonObject:
    return {key: row[key] for key in ("cluster", "sync", "syncReason", "health", "appliedRevision")}


def _said(missing: list[JsonObject]) -> str:
    return "; ".join(
        f"{row['release']} on {row['cluster']}: {row['sync']} ({row['syncReason']}), "
        f"{row['health'] or 'no health yet'}"
        for row in missing
    )
