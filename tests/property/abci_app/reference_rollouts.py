"""An independent reference of a rollout: waves, deadlines and health, counted second by second.

Owns ``Rollout``: what docs/spec/releases.md §3 says must come of a report and of time. It shares no code with
the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """How a content goes out: waves as given, clusters under way at once, seconds, failures, percent."""

    waves: tuple[tuple[str, ...], ...] = ()
    at_once: int | None = None
    deadline: int = 600
    threshold: int = 1
    percent: int = 100
    settle: int = 0


@dataclass(frozen=True)
class Said:
    """What a bridge reports: outcome, health, and how many of how many objects are current."""

    outcome: str
    health: str
    current: int
    total: int


@dataclass
class Place:
    """A cluster of a rollout: seconds since its start, and seconds of health without a break."""

    word: str = "waiting"
    age: int = 0
    streak: int | None = None


@dataclass
class Rollout:
    """A revision on its way; ``clock`` is the second up to which it was followed."""

    revision: int
    plan: Plan
    clock: int
    waves: list[list[str]]
    automatic: bool = False
    word: str = "progressing"
    wave: int = 0
    places: dict[str, Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = {name: Place() for wave in self.waves for name in wave}

    def seconds_left(self) -> int | None:
        """Give the seconds until something comes by time alone."""
        left = [self.plan.deadline - p.age for p in self.places.values() if p.word == "started"]
        left += [
            self.plan.settle - p.streak
            for p in self.places.values()
            if p.word != "healthy" and p.streak is not None
        ]
        return min(left, default=None) if self.word == "progressing" else None

    def follow(self, now: int) -> None:
        """Let every second up to ``now`` pass, one after the other."""
        while self.clock < now and self.word == "progressing":
            self.clock += 1
            self._second()
        self.clock = now

    def _second(self) -> None:
        for place in self.places.values():
            place.age += place.word == "started"
            place.streak = None if place.streak is None else place.streak + 1
        self._settle()
        for place in self.places.values():
            if place.word == "started" and place.age >= self.plan.deadline:
                place.word = "failed"
        self._count()

    def _settle(self) -> None:
        for place in self.places.values():
            if place.streak is not None and place.streak >= self.plan.settle:
                place.word = "healthy"

    def _count(self) -> None:
        # The rollback of the machine is not to be waited for: its first failure is its failure.
        most = 1 if self.automatic else self.plan.threshold
        if [place.word for place in self.places.values()].count("failed") >= most:
            self.word = "failed"

    def hear(self, cluster: str, said: Said) -> None:
        """Take a report on this revision."""
        place = self.places.get(cluster)
        if self.word != "progressing" or place is None or place.word == "waiting":
            return
        if "failed" in (said.outcome, said.health):
            place.word, place.streak = "failed", None
            self._count()
        elif said.outcome == "applied" and said.current * 100 >= self.plan.percent * said.total:
            place.streak = 0 if place.streak is None else place.streak
            self._settle()
        elif place.word != "healthy":
            place.streak = None

    def go_on(self) -> list[str]:
        """Start what may start; give its names."""
        while self.word == "progressing" and self._reached_is_healthy():
            if self.wave + 1 == len(self.waves):
                self.word = "complete"
            else:
                self.wave += 1
        started: list[str] = []
        for name in self.waves[self.wave] if self.word == "progressing" else ():
            busy = sum(self.places[other].word == "started" for other in self.waves[self.wave])
            if self.places[name].word == "waiting" and (
                self.plan.at_once is None or busy < self.plan.at_once
            ):
                self.places[name].word = "started"
                started.append(name)
        left = [p for p in self._reached() if p.word != "healthy"]
        if self.word == "progressing" and left and all(p.word == "failed" and p.streak is None for p in left):
            self.word = "failed"
        return started

    def _reached(self) -> list[Place]:
        return [self.places[c] for wave in self.waves[: self.wave + 1] for c in wave]

    def _reached_is_healthy(self) -> bool:
        return all(place.word == "healthy" for place in self._reached())
