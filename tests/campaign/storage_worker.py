"""The process that dies: it opens a store, commits, restores or goes back, and is ended at a byte or moment.

Owns ``Worker`` (asks a process that never opened a store to fork, so that each case begins clean) and what
the forked child does. A file that reaches the limit ends the child as ``kill -9`` would, in the middle of the
write that crosses it, or, where it is not deadly, fails that write as a full disk does. Judges nothing.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

import state.store
from ledger.errors import ConclaveError
from state.batch import Committed, stage
from state.store import Store
from tests.campaign.storage_history import History

ROOT = Path(__file__).resolve().parents[2]
UNLIMITED = -1
_RESTORE_BATCH_BYTES = 4000
_SAID_CHARACTERS_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What the child does: ``commit``, ``reopen`` (again and again), ``restore`` or ``rollback``.

    Attributes:
        folder: of the store.
        task: what to do.
        to: the height to commit up to, or to restore.
        blob: the size of the history's large values.
        limit_bytes: no file grows over this; UNLIMITED for none.
        deadly: whether the limit ends the child.
        kill_after_s: when to end it from outside; 0 for never.
    """

    folder: str
    task: str
    to: int
    blob: int
    limit_bytes: int = UNLIMITED
    deadly: bool = True
    kill_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a job.

    Attributes:
        acknowledged: the height it found, and each it acknowledged.
        codes: what it was refused with.
        problem: any other exception.
        signal: what ended it; 0 where it ended by itself.
    """

    acknowledged: list[int]
    codes: list[str]
    problem: str
    signal: int


class Worker:
    """A process that forks a child for each job."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.campaign.storage_worker"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def run(self, job: Job) -> Ran:
        """Do a job in a process of its own and give what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return Ran(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_fork(Job(**json.loads(line))))) + "\n")
        sys.stdout.flush()


def _fork(job: Job) -> Ran:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _live(job, lambda word: os.write(theirs, word.encode() + b"\n"))
        os._exit(0)
    os.close(theirs)
    if job.kill_after_s:
        select.select([], [], [], job.kill_after_s)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(ours) as said:
        words = [line.partition(" ")[::2] for line in said.read(_SAID_CHARACTERS_MAX).split("\n")[:-1]]
    _, status = os.waitpid(child, 0)
    return Ran(
        acknowledged=[int(word) for kind, word in words if kind == "height"],
        codes=[word for kind, word in words if kind == "code"],
        problem=" ".join(word for kind, word in words if kind == "problem"),
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
    )


def _live(job: Job, say: Callable[[str], Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if job.deadly else signal.SIG_IGN)
    if job.limit_bytes != UNLIMITED:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.limit_bytes, job.limit_bytes))
    try:
        for height in _TASKS[job.task](job):
            say(f"height {height}")
    except ConclaveError as error:
        say(f"code {error.code.name}")
    except BaseException as error:  # noqa: BLE001 - the parent judges
        say(f"problem {error!r}")


def _commit(job: Job) -> Iterator[int]:
    history = History(job.blob)
    with Store.open(job.folder) as store:
        yield store.committed.height
        while store.committed.height < job.to:
            height = store.committed.height + 1
            yield store.commit(stage(store.committed, height, 1, history.changes_of(height))).height


def _reopen(job: Job) -> Iterator[int]:
    while True:
        with Store.open(job.folder) as store:
            to = store.committed.height + 3
        yield from _commit(Job(job.folder, "commit", to, job.blob))


def _restore(job: Job) -> Iterator[int]:
    mock.patch.object(state.store, "RESTORE_BATCH_BYTES", _RESTORE_BATCH_BYTES).start()
    history = History(job.blob)
    version = Committed(job.to, history.tree_of(job.to), 1)
    with Store.open(job.folder) as store:
        store.restore(version, sorted(history.content_of(job.to).items()))
        yield store.committed.height


def _rollback(job: Job) -> Iterator[int]:
    with Store.open(job.folder) as store:
        yield store.committed.height
        yield store.roll_back().height


_TASKS: dict[str, Callable[[Job], Iterator[int]]] = {
    "commit": _commit,
    "reopen": _reopen,
    "restore": _restore,
    "rollback": _rollback,
}


if __name__ == "__main__":
    _serve()
