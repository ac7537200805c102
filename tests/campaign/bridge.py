"""``python -m tests.campaign.bridge [ROUNDS [SEED [FOLDER]]]``: kills, hand edits and releases at once.

Owns the campaign over four validators, an API server and two bridges. A round: kills, an administrator's
edits and releases at random moments of a seed, all at the same time; then everything runs again, and cluster,
records and ledger must agree, nothing of others be touched, nobody write. At the end the API server's audit
log is judged against the bridges' plans. FOLDER is kept. Starts everything it kills.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from k8s_bridge.objects import key_of
from ledger.errors import ConclaveError
from tests.campaign import audit, audit_log
from tests.campaign.audit import Verdict
from tests.campaign.bridge_hand import CONTAINERS, Hand
from tests.campaign.bridge_judge import Allowed, Judge, Wish
from tests.campaign.bridge_ledger import Ledger
from tests.campaign.bridge_releases import POOL, RELEASES, Releases
from tests.campaign.bridge_stage import BRIDGE_USER, BRIDGES, VALIDATORS, Scene, scene

ROUNDS = 100
KILLS = (0, 1, 1, 2, 3)
PAUSE_S_MAX = 1.2
ACTORS_S_MAX = 400.0
SETTLE_S_MAX = 400.0
"""A contested object rests a minute at most, and what an attempt could not do is tried again within one."""
LOOK_S = 0.4
QUIET_S = 0.5
COMPONENTS = ("kube-apiserver", "kube-apiserver", "kube-apiserver", "etcd", "kube-controller-manager")


class CampaignFailed(Exception):
    """Something does not hold; the text says what, and after which actions."""


@dataclass(slots=True)
class Tally:
    """What a campaign did and found."""

    rounds: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    settled: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        slowest = max(self.settled, default=0.0)
        return (
            f"{self.rounds} rounds in {self.seconds:.0f} s ({done}); settled within {slowest:.1f} s; "
            f"{self.verdict}; proposals refused {len(self.refused)}"
        )


class Campaign:
    """One scene and the three who act on it."""

    def __init__(self, played: Scene, seed: int, say: Callable[[str], None]) -> None:
        self.scene, self._seed, self._say = played, seed, say
        self.hand = Hand(played.admin, played.client)
        self._judge = Judge(played.admin, played.client)
        sources = played.folder / "sources"
        sources.mkdir()
        self._releases = Releases(played.conclave, played.reader.at, sources)
        self._ledger = Ledger(played.reader)
        self._kinds: dict[tuple[str, str], str] = {}
        self._actions: list[tuple[float, str]] = []
        self._kills: list[str] = []
        self._began = time.monotonic()
        self.tally = Tally()

    def run(self, rounds: int) -> Tally:
        """Play so many rounds, then judge the audit log.

        Raises:
            CampaignFailed: at the first round whose end is not as it should be.
        """
        for name in RELEASES:
            chance = self._chance(0, name)
            self._releases.change(name, [drawn(chance) for drawn in POOL[name].values()])
        self._settle(0)
        for number in range(1, rounds + 1):
            self._round(number)
        self._await_reports(rounds)
        self.tally.seconds = time.monotonic() - self._began
        self.tally.refused = self._releases.refused
        self.tally.verdict = self.audited()
        return self.tally

    # -- a round --------------------------------------------------------------------------------

    def _round(self, number: int) -> None:
        began, self._actions, self._kills = time.monotonic(), [], []
        quiet = self._chance(number, "quiet")
        for _ in range(quiet.randint(0, 2)):
            self._do("beside", lambda: self.hand.beside(quiet, anywhere=True))
        actors = {"killer": self._kill, "hand": self._edit, "people": self._release}
        threads = [
            threading.Thread(target=self._act, args=(act, self._chance(number, name)), name=name)
            for name, act in actors.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ACTORS_S_MAX)
            if thread.is_alive():
                raise self._failed(number, [f"{thread.name} does not end"])
        acted = time.monotonic()
        self.scene.raise_validators()
        self.scene.raise_bridges()
        self._do("clear", lambda: f"cleared {self.hand.clear()}")
        took = self._settle(number)
        self.tally.rounds += 1
        self.tally.settled.append(took)
        what = f"{len(self._actions)} actions ({', '.join(self._kills) or 'no kill'})"
        self._say(f"round {number}: {acted - began:.1f} s, {what}; settled in {took:.1f} s")

    def _act(self, act: Callable[[random.Random], None], chance: random.Random) -> None:
        try:
            act(chance)
        except Exception as error:  # noqa: BLE001  it is judged with the round
            self._note(f"FAILED {threading.current_thread().name}: {type(error).__name__}: {error}")

    def _kill(self, chance: random.Random) -> None:
        cluster_lives = True
        for _ in range(chance.choice(KILLS)):
            time.sleep(chance.uniform(0, PAUSE_S_MAX))
            what = chance.choices(["bridge", "cluster", "validator", "stop"], [4, 3, 3, 1])[0]
            if what == "cluster" and cluster_lives:
                cluster_lives = False
                component, pause_s = chance.choice(COMPONENTS), chance.uniform(0, 1.5)
                self._hurt("cluster", f"kill {component}")
                self.scene.restart_cluster(component, pause_s)
            elif what == "validator":
                number, member = chance.randrange(VALIDATORS), chance.choice(["app", "cometbft", "node"])
                self._hurt("validator", f"kill {member} of validator {number}")
                self.scene.kill_validator(number, member)
            else:
                name, pause_s = chance.choice(BRIDGES), chance.uniform(0, 2.5)
                number = signal.SIGSTOP if what == "stop" else signal.SIGKILL
                self._hurt("bridge", f"{'stop' if what == 'stop' else 'kill'} the {name} bridge")
                self.scene.hurt_bridge(name, number, pause_s)

    def _hurt(self, whom: str, how: str) -> None:
        self._kills.append(how)
        self._do(f"{how.split(maxsplit=1)[0]} {whom}", lambda: how)

    def _edit(self, chance: random.Random) -> None:
        for _ in range(chance.randint(2, 9)):
            time.sleep(chance.uniform(0, PAUSE_S_MAX))
            if chance.random() < 0.25:
                self._do("beside", lambda: self.hand.beside(chance, anywhere=False))
            else:
                self._do("edit", lambda: self.hand.edit(chance))

    def _release(self, chance: random.Random) -> None:
        for _ in range(chance.randint(0, 3)):
            time.sleep(chance.uniform(0, PAUSE_S_MAX))
            self._do("release", lambda: self._releases.act(chance))

    def _do(self, kind: str, act: Callable[[], str]) -> None:
        self.tally.done[kind] += 1
        self._note(act())

    def _note(self, text: str) -> None:
        self._actions.append((time.time(), text))

    def _chance(self, number: int, actor: str) -> random.Random:
        return random.Random(f"{self._seed}/{number}/{actor}")  # noqa: S311 - reproducible, not secret

    # -- its end --------------------------------------------------------------------------------

    def _settle(self, number: int) -> float:
        """Wait until all agrees and nobody writes; gives how long that took, in seconds."""
        failed = [text for _, text in self._actions if text.startswith("FAILED")]
        if failed:
            raise self._failed(number, failed)
        began = time.monotonic()
        while True:
            differences = self.look()
            if not differences:
                before = self._written()
                time.sleep(QUIET_S)
                differences = self.look()
                wrote = self._written() - before
                if not differences and not wrote:
                    return time.monotonic() - began
                differences = differences or [
                    f"all is in place, and the bridge still writes: {wrote} requests"
                ]
            if time.monotonic() - began > SETTLE_S_MAX:
                raise self._failed(number, differences)
            time.sleep(LOOK_S)

    def _await_reports(self, number: int) -> None:
        """Wait until the ledger has been told that each release is in place."""
        end = time.monotonic() + SETTLE_S_MAX
        while untold := self._ledger.untold():
            if time.monotonic() > end:
                raise self._failed(number, untold)
            time.sleep(LOOK_S)

    def look(self) -> list[str]:
        """Name everything that is not as the ledger and the hand have it."""
        try:
            wishes = self._wishes()
            self._kinds |= self._judge.kinds()
            used = {key.identity for key in self.hand.used if key.kind in CONTAINERS}
            differences = self._judge.differences(wishes, Allowed(used, self.hand.stripped))
            return differences + self._judge.touched(self.hand.foreign)
        except ConclaveError as error:
            return [f"not seen: {error}"]

    def _wishes(self) -> dict[str, Wish]:
        found = self._ledger.wishes()
        for name, wish in found.items():
            made = self._releases.made.get((name, wish.revision or 0))
            # What is deleted keeps its revision, and has nothing.
            if (
                made is not None
                and wish.manifests
                and sorted(map(key_of, made)) != sorted(map(key_of, wish.manifests))
            ):
                raise CampaignFailed(f"{name} {wish.revision} is not what was proposed")
        return found

    def _written(self) -> int:
        """Count the writes of ours that are no lease."""
        return sum(
            b'"resource":"leases"' not in line and b"dryRun" not in line
            for line in (self.scene.folder / "audit.log").read_bytes().splitlines()
            if b'"username":"' + BRIDGE_USER.encode() in line
        )

    def _failed(self, number: int, differences: list[str]) -> CampaignFailed:
        actions = [f"  {moment:.3f} {text}" for moment, text in self._actions]
        logs = [
            f"  {name}: {line}"
            for name in BRIDGES
            for line in self.scene.log_of(name).read_text().splitlines()[-8:]
        ]
        again = f"again: make campaign-bridge SEED={self._seed} N={number}"
        return CampaignFailed(
            "\n".join([f"round {number} of seed {self._seed}", *actions, *differences, *logs, again])
        )

    # -- the audit ------------------------------------------------------------------------------

    def audited(self) -> Verdict:
        """Judge the audit log so far against the plans of all bridges so far."""
        planned = [step for name in BRIDGES for step in audit_log.planned_of(name, self.scene.lines(name))]
        writes = audit_log.writes_of(self.scene.audit(), self.scene.users())
        return audit.judge(writes, planned, self._kinds, self._ledger.signed(), BRIDGE_USER)


@contextlib.contextmanager
def campaign(folder: Path, seed: int, say: Callable[[str], None]) -> Iterator[Campaign]:
    """Give a campaign whose scene is up; everything is gone afterwards."""
    with scene(folder, RELEASES) as played:
        yield Campaign(played, seed, say)


def main(rounds: int = ROUNDS, seed: int = 1, kept: str = "") -> int:
    """Run a campaign; give the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        # A short path: it holds unix sockets.
        folder = Path(kept or stack.enter_context(tempfile.TemporaryDirectory(prefix="cb-")))
        folder.mkdir(exist_ok=True)

        def say(text: str) -> None:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

        try:
            with campaign(folder, seed, say) as played:
                tally = played.run(rounds)
        except CampaignFailed as failure:
            say(str(failure))
            return 1
    say(f"seed {seed}: {tally}")
    for what in (*tally.refused, *tally.verdict.unplanned, *tally.verdict.unsent):
        say(f"  {what}")
    return 0 if tally.verdict.holds else 1


if __name__ == "__main__":
    given = [*sys.argv[1:], *("", "", "")[len(sys.argv) - 1 :]]
    sys.exit(main(int(given[0] or ROUNDS), int(given[1] or 1), given[2]))
