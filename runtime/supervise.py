"""Several processes run as one unit: one dies, all restart together.

Owns the start order, the restart policy, the stop order and the size of the logs. Promises: no member runs
without the others for longer than the stop bound; restarts are spaced by exponential backoff and given up
after too many deaths in a window, with the last log lines; SIGTERM or SIGINT ends everything within a bound;
if the supervisor itself is killed the kernel kills the members. It never interprets what a member does.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from ledger.errors import Code, EnvironmentFault
from runtime import process
from runtime.log import event
from runtime.logfile import bound_log, tail
from runtime.retry import Backoff
from runtime.status import EXIT_PERMANENT

_LOG = logging.getLogger("supervise")
_READY_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the unit.

    Attributes:
        name: for logs and the pid file ``<name>.pid`` in the unit's folder.
        argv: the program and its arguments.
        log: the file its output is appended to.
        ready: tells whether the next member may start; None means at once.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    ready: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """When to restart, when to give up, how long to wait (seconds), how large a log may grow (bytes).

    ``settle_s``: how long after one death the others may take to die of it, or to say why it died.
    """

    backoff: Backoff = field(default_factory=Backoff)
    deaths_max: int = 5
    window_s: float = 120.0
    ready_s: float = 60.0
    grace_s: float = 10.0
    settle_s: float = 1.0
    watch_s: float = 5.0
    log_bytes_max: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Death:
    """A member that ended by itself: its name, exit status (negative: signal) and log."""

    name: str
    status: int
    log: Path

    @property
    def blame(self) -> tuple[bool, bool, bool]:
        """Sorts highest who failed first-hand: a refusal to start, a failure, a signal, a clean end."""
        return self.status == EXIT_PERMANENT, self.status > 0, self.status < 0


class Unit:
    """Runs ``members`` in ``folder``, in order; ``before_start`` runs before every start and may refuse."""

    def __init__(
        self,
        members: tuple[Member, ...],
        folder: Path,
        policy: Policy | None = None,
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._members = members
        self._folder = folder
        self._policy = policy or Policy()
        self._before_start = before_start
        self._running: list[tuple[Member, subprocess.Popen[bytes], int]] = []

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; return when every member has ended.

        Raises:
            EnvironmentFault: PROCESS_DIED after too many deaths, or what ``before_start`` raises.
        """
        deaths: deque[float] = deque()
        with _StopSignal() as stop:
            while not stop.asked:
                self._before_start()
                death = self._run_once(stop)
                if death is None:
                    return
                now = time.monotonic()
                deaths.append(now)
                while now - deaths[0] > self._policy.window_s:
                    deaths.popleft()
                delay_s = self._judge(death, len(deaths))
                stop.wait([], delay_s)

    def _judge(self, death: Death, deaths: int) -> float:
        """Give the delay in seconds before the next start, or give up."""
        policy = self._policy
        if death.status == EXIT_PERMANENT or deaths >= policy.deaths_max:
            raise EnvironmentFault(
                Code.PROCESS_DIED,
                got=f"{death.name} ended with status {death.status}",
                expected="a process that keeps running",
                todo=f"read {death.log}, mend the cause, start again",
                process=death.name,
                status=death.status,
                deaths=deaths,
                window_s=policy.window_s,
                log=tail(death.log),
            )
        delay_s = policy.backoff.delay_s(deaths)
        event(
            _LOG,
            "restarting",
            level=logging.WARNING,
            process=death.name,
            status=death.status,
            deaths=deaths,
            delay_s=delay_s,
        )
        return delay_s

    def _run_once(self, stop: _StopSignal) -> Death | None:
        """Start all, watch all, stop all; give the first death, None when a stop was asked."""
        try:
            for member in self._members:
                self._start(member)
                death = self._await_ready(member, stop)
                if death is not None or stop.asked:
                    return death
            return self._watch(stop)
        finally:
            self._stop_all()

    def _start(self, member: Member) -> None:
        bound_log(member.log, self._policy.log_bytes_max)
        child = process.start(member.argv, cwd=self._folder, log=member.log)
        self._running.append((member, child, os.pidfd_open(child.pid)))
        named = process.identify(child.pid)
        if named is not None:
            process.write_pid_file(self._pid_file(member), named)
        event(_LOG, "started", process=member.name, pid=child.pid)

    def _await_ready(self, member: Member, stop: _StopSignal) -> Death | None:
        if member.ready is None:
            return None
        deadline = time.monotonic() + self._policy.ready_s
        while not member.ready():
            if self._poll(stop, _READY_POLL_S):
                return self._death()
            if time.monotonic() > deadline:
                event(_LOG, "not ready in time", level=logging.ERROR, process=member.name)
                return Death(member.name, 0, member.log)
        return None

    def _watch(self, stop: _StopSignal) -> Death | None:
        while not self._poll(stop, self._policy.watch_s):
            for member, _, _ in self._running:
                bound_log(member.log, self._policy.log_bytes_max)
        return self._death()

    def _poll(self, stop: _StopSignal, timeout_s: float) -> bool:
        """Wait for a death or a stop; True if there was one."""
        return bool(stop.wait([handle for _, _, handle in self._running], timeout_s)) or stop.asked

    def _death(self) -> Death | None:
        """Give the death to blame: one member's failure ends the others within moments, so wait for them."""
        handles = {handle for _, child, handle in self._running if child.poll() is None}
        if len(handles) == len(self._running):
            return None
        deadline = time.monotonic() + self._policy.settle_s
        while handles and time.monotonic() < deadline:
            handles -= {handle for handle in handles if process.wait_gone(handle, _READY_POLL_S)}
        dead = [
            Death(member.name, status, member.log)
            for member, child, _ in self._running
            if (status := child.poll()) is not None
        ]
        return max(dead, key=lambda death: death.blame)

    def _stop_all(self) -> None:
        """End every member, last started first: the node before the application it talks to."""
        while self._running:
            member, child, handle = self._running.pop()
            named = process.ProcessId(child.pid, process.start_time(child.pid) or 0)
            clean = process.stop(named, grace_s=self._policy.grace_s)
            status = child.wait()
            os.close(handle)
            self._pid_file(member).unlink(missing_ok=True)
            event(_LOG, "ended", process=member.name, status=status, clean=clean)

    def _pid_file(self, member: Member) -> Path:
        return self._folder / f"{member.name}.pid"


class _StopSignal:
    """SIGTERM and SIGINT as a flag that also wakes a poll; restores the old handlers on exit."""

    def __init__(self) -> None:
        self.asked = False
        self._handlers: dict[int, object] = {}
        self._old_wakeup = -1

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._reader)
        os.close(self._writer)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True

    def wait(self, handles: list[int], timeout_s: float) -> list[int]:
        """Wait until a handle is readable, a stop is asked or time is up; give the readable handles."""
        if self.asked:
            return []
        watch = select.poll()
        for descriptor in (self._reader, *handles):
            watch.register(descriptor, select.POLLIN)
        readable = [descriptor for descriptor, _ in watch.poll(int(timeout_s * 1000))]
        return [descriptor for descriptor in readable if descriptor != self._reader]
