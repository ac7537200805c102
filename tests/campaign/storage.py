"""``python -m tests.campaign.storage [CASES [SEED [BYTES]]]``: any file damaged, any write cut off.

Owns the cases (a byte flipped, a file cut or lost; death or a full disk at a byte of any file, in commits, an
opening, a restore, a rollback; ``kill -9`` at any moment) and the judgement: after each the state is read,
whole and with its past, taken a height back and forward again. Promises that a seed does the same again, but
for the moments of ``kill -9``; BYTES is the size of each height's large value. A case is wrong where a value,
a root or a height is, or where a refusal is not the one it must be.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import Code, EnvironmentFault
from state.batch import Committed
from state.proof import SMT, verify_membership, verify_non_membership
from state.store import Store
from tests.campaign.storage_history import KEYS, History
from tests.campaign.storage_worker import Job, Ran, Worker

CASES = 20_000
BLOB_BYTES = 900
TO = (9, 15, 18)
"""Heights at which the source was closed: what was written before the last opening is in tables."""
MORE = 4
TASKS = ("commit", "restore", "rollback")
SMALL_FILES_BYTES = (300, 3_000)
"""About what a list of tables and the log of a few commits take."""
KILL_S_MAX = 0.04
KILL_BYTES_PER_S = 3_000_000
RAM_DISK = Path("/dev/shm")
_WRONG_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """What was done and found; ``wrong`` must stay empty."""

    found: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        found = ", ".join(f"{what} {count}" for what, count in sorted(self.found.items()))
        return f"{self.found.total()} cases in {self.seconds:.0f} s: {found}; wrong {len(self.wrong)}"


class Wrong(Exception):
    """A state that is not the one it must be."""


class Campaign:
    """Cases on copies of one source, in ``folder``."""

    def __init__(self, folder: Path, seed: int, worker: Worker, blob: int = BLOB_BYTES) -> None:
        self._folder, self._copy, self._worker = folder, folder / "copy", worker
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._blob, self._history = blob, History(blob)
        self._source = folder / "source"
        self.height = TO[-1]
        self._first = 1
        """The height at which the history of the copy begins."""
        self.tally = Tally()
        for to in TO:
            with Store.open(self._source) as store:
                self._history.grow(store, to)

    def run(self, cases: int) -> Tally:
        """Do so many cases of all kinds."""
        begun = time.monotonic()
        self.lose()
        kinds = (self.flip, self.cut, *(lambda task=task: self._either(task) for task in TASKS), self.kill)
        for number in range(cases):
            kinds[number % len(kinds)]()
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    # -- damage -------------------------------------------------------------------------------------

    def flip(self) -> None:
        """Change a byte of a file: the state is exact, or what was read of the damage names it."""
        file = self._chance.choice([f for f in self._files() if f.stat().st_size])
        content = bytearray(file.read_bytes())
        at, bits = self._chance.randrange(len(content)), self._chance.randrange(1, 256)
        content[at] ^= bits
        self._damage(f"flip {file.name} {at} {bits}", file.name, bytes(content))

    def flip_every(self, name: str, step: int, bits: int) -> None:
        """Change every ``step``-th byte of the files called like ``name``, one at a time."""
        for file in self._source.glob(name):
            content = file.read_bytes()
            for at in range(0, len(content), step):
                changed = content[:at] + bytes((content[at] ^ bits,)) + content[at + 1 :]
                self._damage(f"flip {file.name} {at} {bits}", file.name, changed)

    def cut(self) -> None:
        """Cut a file short."""
        file = self._chance.choice([f for f in self._files() if f.stat().st_size])
        at = self._chance.randrange(file.stat().st_size)
        self._damage(f"cut {file.name} {at}", file.name, file.read_bytes()[:at])

    def lose(self) -> None:
        """Remove each file once."""
        for file in self._files():
            self._damage(f"lose {file.name}", file.name, None)

    def _damage(self, case: str, name: str, content: bytes | None) -> None:
        with self._case(case):
            shutil.copytree(self._source, self._copy)
            damaged = self._copy / name
            damaged.unlink() if content is None else damaged.write_bytes(content)
            self._judge(case, {self.height}, can_be_named=True)

    # -- interruption -------------------------------------------------------------------------------

    def _either(self, task: str) -> None:
        self.interrupt(task, deadly=self._chance.random() < 0.5)

    def interrupt(self, task: str, *, deadly: bool) -> None:
        """Die, or have no room, at a byte of any file while the state is opened and the task is done."""
        largest = max(file.stat().st_size for file in self._files())
        limit = self._chance.randrange(self._chance.choice((*SMALL_FILES_BYTES, largest)))
        to = self.height + MORE if task == "commit" else self.height
        job = Job(str(self._copy), task, to, self._blob, limit, deadly)
        with self._case(f"{'death' if deadly else 'no room'} at {limit} in {task}"):
            self._after(job, None if task == "restore" else self._source)

    def kill(self) -> None:
        """``kill -9`` at any moment of commits and openings."""
        moment = self._chance.uniform(0.001, KILL_S_MAX + self._blob / KILL_BYTES_PER_S)
        job = Job(str(self._copy), "reopen", 0, self._blob, kill_after_s=moment)
        with self._case(f"kill after {moment:.4f} s"):
            self._after(job, self._source)

    def _after(self, job: Job, source: Path | None) -> None:
        if source is None:
            self._copy.mkdir()
            self._first = self.height
        else:
            shutil.copytree(source, self._copy)
        ran = self._worker.run(job)
        case = f"{job.task} {'killed' if ran.signal else ran.codes[0] if ran.codes else 'whole'}"
        if ran.problem or set(ran.codes) - {Code.DISK_FULL.name} or (ran.codes and job.deadly):
            raise Wrong(f"{ran}")
        self._judge(case, self._possible(job, ran), can_be_named=False)

    def _possible(self, job: Job, ran: Ran) -> set[int]:
        """Give the heights that may be found: the last acknowledged one, or the one that was being made."""
        if job.task == "restore":
            return {job.to} if ran.acknowledged else {0, job.to}
        last = ran.acknowledged[-1] if ran.acknowledged else self.height
        following = last - 1 if job.task == "rollback" else last + 1
        is_over = job.task == "rollback" and last < self.height
        return {last} if is_over else {last, following}

    # -- judgement ----------------------------------------------------------------------------------

    def _case(self, name: str) -> _Case:
        return _Case(self, name)

    def _judge(self, case: str, heights: Collection[int], *, can_be_named: bool) -> None:
        """Read, go back, go forth; count what was found under the first word of the case."""
        kind = case if not can_be_named else case.split(maxsplit=1)[0]
        for step in (self._read, self._go_back, self._go_on):
            try:
                with Store.open(self._copy) as store:
                    if store.committed.height not in heights:
                        raise Wrong(f"height {store.committed.height}, not of {sorted(heights)}")
                    heights = {step(store)}
            except EnvironmentFault as fault:
                if fault.code is not Code.STATE_CORRUPT or not can_be_named:
                    raise Wrong(f"{fault!r}") from fault
                self.tally.found[f"{kind}: named"] += 1
                return
        self.tally.found[f"{kind}: exact"] += 1

    def _read(self, store: Store) -> int:
        height = store.committed.height
        if not height:
            return height
        content = self._history.content_of(height)
        _same(store.committed.app_hash, self._history.tree_of(height).root, f"root of {height}")
        for key in KEYS:
            _same(store.get(key), content.get(key), f"{key!r}")
        frozen = store.freeze()
        try:
            _same(list(frozen.pairs()), sorted(content.items()), "snapshot")
        finally:
            frozen.close()
        for past in {height, height - 1, height // 2, 2} & set(range(self._first, height + 1)):
            self._read_past(store, past)
        return height

    def _read_past(self, store: Store, height: int) -> None:
        content, root = self._history.content_of(height), self._history.tree_of(height).root
        _same(store.tree_at(height).root, root, f"root of {height}")
        for key in KEYS:
            _same(store.get_at(key, height), content.get(key), f"{key!r} at {height}")
        for key in KEYS[:: len(KEYS) // 3]:
            value, proof = store.prove_at(key, height)
            _same(value, content.get(key), f"proven {key!r} at {height}")
            if value is None:
                verify_non_membership(SMT, root, proof, key)
            else:
                verify_membership(SMT, root, proof, key, value)

    def _go_back(self, store: Store) -> int:
        height = store.committed.height
        if height > self._first:
            height -= 1
            _same(store.roll_back().app_hash, self._history.tree_of(height).root, f"back to {height}")
        return height

    def _go_on(self, store: Store) -> int:
        height = store.committed.height
        if not height:
            content = self._history.content_of(self.height)
            version = Committed(self.height, self._history.tree_of(self.height), 1)
            store.restore(version, sorted(content.items()))
            height = self.height
        self._history.grow(store, height + 2)
        return self._read(store)

    def _files(self) -> list[Path]:
        return sorted(self._source.iterdir())


class _Case:
    """One case on a copy of its own: what is wrong is noted with its name."""

    def __init__(self, campaign: Campaign, name: str) -> None:
        self._campaign, self._name = campaign, name

    def __enter__(self) -> None:
        shutil.rmtree(self._campaign._copy, ignore_errors=True)
        self._campaign._first = 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._campaign.tally.wrong.append(f"{self._name}: {error!r}")
        self._campaign.tally.found["wrong"] += 1
        return True


def campaign(seed: int, body: Callable[[Campaign], object], blob: int = BLOB_BYTES) -> Tally:
    """Do the cases that ``body`` chooses, on a RAM disk where there is one."""
    where = RAM_DISK if RAM_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="conclave-storage-", dir=where) as folder, Worker() as worker:
        begun = Campaign(Path(folder), seed, worker, blob)
        body(begun)
        return begun.tally


def _same(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise Wrong(f"{what}: {str(got)[:80]}, not {str(expected)[:80]}")


def main(cases: int = CASES, seed: int = 1, blob: int = BLOB_BYTES) -> int:
    """Run a campaign; give the exit status."""
    tally = campaign(seed, lambda begun: begun.run(cases), blob)
    sys.stdout.write(f"seed {seed}: {tally}\n")
    for what in tally.wrong[:_WRONG_SHOWN]:
        sys.stdout.write(f"  {what}\n")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
