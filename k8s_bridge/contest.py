"""Objects that somebody else writes again whenever the bridge has put them back.

Owns the counting of undone writes and the pauses that follow. Promises that an object which others wrote a
few times is put back at once, that one they keep writing is put back with growing pauses up to a bound and
never given up, that the pauses of one object delay no other, and that a contest ends when the others stop.
Pure: the time is an argument, in seconds of a clock that never goes back.

Source: kubernetes notes §2 (Config Sync's fight detector: five updates a minute).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.retry import Backoff

RIVALS_MAX = 8
"""Managers that are remembered of one object: names are the writers' own, and cost them nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When an object counts as contested, and how long it is then left alone.

    Attributes:
        writes: so many undone writes within ``window_s`` begin a contest.
        window_s: and none within it end one; at least the longest rest.
        rests: after each undone write of a contest.
    """

    writes: int = 5
    window_s: float = 60.0
    rests: Backoff = field(default_factory=lambda: Backoff(base_s=1.0, ceiling_s=60.0))


@dataclass(frozen=True, slots=True)
class Contest:
    """One object that others wrote.

    Attributes:
        undone_s: when their writes were undone, the newest few.
        count: how often, since this began.
        rests: how many rests followed each other; 0 while the object is not contested.
        until_s: it is not written before.
        rivals: the other managers, as the API server's record names them.
    """

    undone_s: tuple[float, ...]
    count: int
    rests: int
    until_s: float
    rivals: tuple[str, ...]

    @property
    def contested(self) -> bool:
        """Whether this is more than an accident."""
        return self.rests > 0

    def resting(self, now_s: float) -> bool:
        """Whether the object is left alone now."""
        return self.contested and now_s < self.until_s

    def over_s(self, rule: Rule) -> float:
        """From when on a look that finds the object in place ends this."""
        return self.undone_s[-1] + rule.window_s


def undone(before: Contest | None, now_s: float, rivals: tuple[str, ...], rule: Rule) -> Contest:
    """Count a write that was undone at ``now_s``.

    Args:
        before: what is known of the object.
        now_s: when.
        rivals: who wrote, where the record says so.
        rule: when that is a contest.
    """
    known = before or Contest((), 0, 0, now_s, ())
    times = (*(at for at in known.undone_s if now_s - at < rule.window_s), now_s)[-rule.writes :]
    rests = known.rests + 1 if known.contested or len(times) >= rule.writes else 0
    names = tuple(dict.fromkeys((*rivals, *known.rivals)))[:RIVALS_MAX]
    return Contest(times, known.count + 1, rests, now_s + rule.rests.delay_s(rests), names)


def in_place(before: Contest | None, now_s: float, rule: Rule) -> Contest | None:
    """Take a look that found the object as it should be; None where nothing is left to remember."""
    if before is None or now_s >= before.over_s(rule):
        return None
    return before
