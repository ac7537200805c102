"""Who may write to a cluster, decided from one Lease object (docs/spec/bridge-lease.md).

Owns what a bridge believes about the lease and every decision from it. Promises that two bridges never both
believe that they hold it while their clocks run at the same speed, whatever these show, and that a belief
ends ``settle_s`` before anybody else's can begin. Never compares the clocks of two machines; never talks to
the API server.

Source: client-go tools/leaderelection (a change is timed by the clock of who sees it).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from k8s_bridge.objects import field, metadata_text, uid_of
from ledger.errors import Code, Refused
from ledger.types import JsonObject

LEASE_NAME = "conclave-bridge"
NETWORK_S = 1.5
"""What left the process and was not received after this long is dropped (``connection.UNRECEIVED_S``)."""
DURATION_S, DURATION_S_MIN, DURATION_S_MAX = 12, 6, 60
RENEWALS_MIN = 8
"""Renewals that fit into a duration: some may fail."""
RENEW_S, RENEW_S_MIN = 1.5, 0.2
LOOKS = 3
"""A bridge that waits looks this often in the time between two renewals."""
NEW_S = 0.2
"""That nobody ever wrote counts only if look and write together took no longer: a lease that came and was
deleted by hand in between is seen by neither."""
_DRIFT_PERCENT = 1
_WRITE_SHARE = 7 / 24


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a lease lasts and what follows from it, in seconds.

    Attributes:
        duration_s: the lease may be taken when nobody renewed it for this long.
        renew_s: between two renewals.

    Raises:
        Refused: FIELD_INVALID.
    """

    duration_s: int = DURATION_S
    renew_s: float = RENEW_S

    def __post_init__(self) -> None:
        """Check the limits."""
        if not DURATION_S_MIN <= self.duration_s <= DURATION_S_MAX:
            raise _invalid("duration_s", self.duration_s, f"{DURATION_S_MIN} to {DURATION_S_MAX}")
        most = self.duration_s / RENEWALS_MIN
        if not RENEW_S_MIN <= self.renew_s <= most:
            raise _invalid("renew_s", self.renew_s, f"{RENEW_S_MIN} to {most}")

    @property
    def write_s(self) -> float:
        """How long the API server may work at one write."""
        return self.duration_s * _WRITE_SHARE

    @property
    def hold_s(self) -> float:
        """How long after a renewal was sent the holder may still begin a write."""
        drift_s = self.duration_s * _DRIFT_PERCENT / 100
        return self.duration_s - self.settle_s - drift_s

    @property
    def settle_s(self) -> float:
        """After this long nothing that a process sent is still on its way."""
        return self.write_s + NETWORK_S


def timing_of(duration_s: int) -> Timing:
    """Give the timing of a lease of this length: renewed as often as usual, or as often as it then must be.

    Raises:
        Refused: FIELD_INVALID.
    """
    return Timing(duration_s, min(RENEW_S, duration_s / RENEWALS_MIN))


@dataclass(frozen=True, slots=True)
class Record:
    """The lease as read.

    Attributes:
        uid, version: which object, in which version; together they change with every write.
        holder: who holds it; empty when it was given back.
        transitions: how often it changed hands.
        duration_s: how long its holder asked others to wait.
    """

    uid: str
    version: str
    holder: str
    transitions: int
    duration_s: int

    @property
    def term(self) -> str:
        """What names one holder's time, among all."""
        return f"{self.uid}/{self.transitions}"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A holder whose process is known to be dead since ``dead_s``, by our clock."""

    holder: str
    dead_s: float


@dataclass(frozen=True, slots=True)
class Belief:
    """What one bridge knows; every time is of its own clock.

    Attributes:
        me: its name, of this process alone.
        timing: how long.
        record: the lease as read last; None where there was none.
        seen_s: when that was first seen; None before the first look.
        held_until_s: no write may begin later; None when another holds it.
        renewed_s: when the last write of ours that succeeded was sent.
        predecessor: who is known to be dead.
        untouched_s: when the look was sent that found that no bridge ever wrote here; None: one may have.
        barred_until_s: though we hold the lease, another may be writing until then; None: none can.
    """

    me: str
    timing: Timing
    record: Record | None = None
    seen_s: float | None = None
    held_until_s: float | None = None
    renewed_s: float = 0.0
    predecessor: Predecessor | None = None
    untouched_s: float | None = None
    barred_until_s: float | None = None


class Action(enum.StrEnum):
    """What to do about the lease."""

    LOOK = "look"
    ACQUIRE = "acquire"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and not before when."""

    action: Action
    at_s: float


def record_of(live: JsonObject) -> Record:
    """Read a Lease. What its writer left out or spelled wrongly reads as the more careful value."""
    spec = field(live, "spec")
    holder, transitions = field(spec, "holderIdentity"), field(spec, "leaseTransitions")
    duration = field(spec, "leaseDurationSeconds")
    return Record(
        uid_of(live),
        metadata_text(live, "resourceVersion"),
        holder if isinstance(holder, str) else "",
        transitions if type(transitions) is int and transitions >= 0 else 0,
        min(duration, DURATION_S_MAX) if type(duration) is int and duration > 0 else DURATION_S_MAX,
    )


def spec_of(belief: Belief) -> JsonObject:
    """Give who, how long and how often, for the Lease that makes us its holder, or renews it."""
    record = belief.record
    before = record.transitions if record is not None else 0
    ours = record is not None and record.holder == belief.me
    return {
        "holderIdentity": belief.me,
        "leaseDurationSeconds": belief.timing.duration_s,
        "leaseTransitions": before if ours else before + 1,
    }


def seen(belief: Belief, record: Record | None, now_s: float) -> Belief:
    """Take a look at the lease into account, whose answer had come by ``now_s``.

    One of ours where there was none was made by a write whose answer was lost: it bars us as in ``written``.
    """
    known = belief.seen_s is not None and _same(record, belief.record)
    ours = record is not None and record.holder == belief.me and _same_term(record, belief.record)
    made = record is not None and record.holder == belief.me and belief.record is None
    return replace(
        belief,
        record=record,
        seen_s=belief.seen_s if known else now_s,
        held_until_s=belief.held_until_s if ours else None,
        barred_until_s=now_s + belief.timing.duration_s if made else belief.barred_until_s,
    )


def looked(belief: Belief, record: Record | None, *, untouched: bool, sent_s: float, now_s: float) -> Belief:
    """Take a look at the lease, and at whether anybody ever wrote, into account.

    Args:
        belief: before it.
        record: the lease; None where there is none.
        untouched: nobody did, and this bridge never saw otherwise (``may_be_new``).
        sent_s: when the look was sent.
        now_s: when its answer had come.
    """
    found = seen(belief, record, now_s)
    return replace(found, untouched_s=sent_s if untouched and record is None else None)


def may_be_new(belief: Belief) -> bool:
    """Whether, by all that this bridge saw, nobody may have written here yet."""
    return belief.seen_s is None or belief.untouched_s is not None


def written(belief: Belief, record: Record, sent_s: float, now_s: float) -> Belief:
    """Take a write of ours into account that was sent at ``sent_s`` and succeeded.

    One that left the version as it was tells nobody that we live, and counts for nothing. One that made the
    lease bars us for as long as whoever held one before may go on; unless nobody ever did, as seen just now.
    """
    if record.holder != belief.me or _same(record, belief.record):
        return seen(belief, record, now_s)
    barred_until_s = belief.barred_until_s
    is_first = belief.untouched_s is not None and now_s - belief.untouched_s <= NEW_S
    if belief.record is None and not is_first:
        barred_until_s = now_s + belief.timing.duration_s
    return replace(
        belief,
        record=record,
        seen_s=now_s,
        held_until_s=sent_s + belief.timing.hold_s,
        renewed_s=sent_s,
        untouched_s=None,
        barred_until_s=barred_until_s,
    )


def decide(belief: Belief, now_s: float) -> Decision:
    """Decide what to do about the lease, and when."""
    if belief.seen_s is None:
        return Decision(Action.LOOK, now_s)
    if belief.record is not None and belief.record.holder == belief.me:
        held = belief.held_until_s is not None
        return Decision(Action.RENEW, belief.renewed_s + belief.timing.renew_s if held else now_s)
    free_s = _free_s(belief, belief.seen_s)
    if free_s <= now_s:
        return Decision(Action.ACQUIRE, now_s)
    return Decision(Action.LOOK, min(free_s, now_s + belief.timing.renew_s / LOOKS))


def remaining_s(belief: Belief, now_s: float) -> float:
    """Give how long writes may still begin; 0 when none may."""
    barred = belief.barred_until_s is not None and now_s < belief.barred_until_s
    return 0.0 if belief.held_until_s is None or barred else max(0.0, belief.held_until_s - now_s)


def term_of(belief: Belief, now_s: float) -> str | None:
    """Give the term in which writes may begin now; None when none may."""
    if belief.record is None or remaining_s(belief, now_s) <= 0:
        return None
    return belief.record.term


def _free_s(belief: Belief, seen_s: float) -> float:
    """When the lease may be taken."""
    record, timing = belief.record, belief.timing
    if record is None:
        # Made at once; whoever held one that was deleted is waited for with it in hand (``written``).
        return seen_s
    if not record.holder:
        return seen_s
    dead = belief.predecessor
    free_s = seen_s + max(record.duration_s, timing.duration_s)
    return min(free_s, dead.dead_s + timing.settle_s) if dead and dead.holder == record.holder else free_s


def _same(one: Record | None, other: Record | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.uid, one.version) == (other.uid, other.version)


def _same_term(one: Record, other: Record | None) -> bool:
    return other is not None and one.term == other.term


def _invalid(name: str, got: object, expected: str) -> Refused:
    return Refused(Code.FIELD_INVALID, got=got, expected=expected, todo="correct it", field=f"lease.{name}")
