"""Several processes as one unit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.errors import Code, EnvironmentFault
from runtime import process
from runtime.retry import Backoff
from runtime.status import EXIT_PERMANENT
from runtime.supervise import Member, Policy, Unit

FAST = Policy(backoff=Backoff(0.001, 0.002), deaths_max=3, window_s=600, grace_s=60, settle_s=0.3)
FAST_FOR_EVER = replace(FAST, deaths_max=5)
SLEEP = "sleep 600"


def _shell(tmp_path: Path, name: str, script: str) -> Member:
    return Member(name, ("sh", "-c", script), tmp_path / f"{name}.log")


@pytest.mark.requires("supervise.gives-up")
def test_too_many_deaths_give_up_with_the_last_lines(tmp_path: Path) -> None:
    unit = Unit((_shell(tmp_path, "a", SLEEP), _shell(tmp_path, "b", "echo boom; exit 3")), tmp_path, FAST)
    with pytest.raises(EnvironmentFault) as fault:
        unit.run()
    assert fault.value.code == Code.PROCESS_DIED
    assert fault.value.facts["process"] == "b"
    assert fault.value.facts["status"] == 3
    assert fault.value.facts["deaths"] == 3
    assert fault.value.facts["log"] == ["boom"] * 3
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.requires("supervise.gives-up")
def test_a_permanent_refusal_is_not_retried_and_is_blamed(tmp_path: Path) -> None:
    # "a" refuses; "b", which depends on it, ends a moment earlier with a status of its own.
    first = _shell(tmp_path, "a", f"echo no >> a.count; sleep 0.05; exit {EXIT_PERMANENT}")
    unit = Unit((first, _shell(tmp_path, "b", "exit 1")), tmp_path, replace(FAST, settle_s=60))
    with pytest.raises(EnvironmentFault) as fault:
        unit.run()
    assert fault.value.facts["process"] == "a"
    assert (tmp_path / "a.count").read_text() == "no\n"


@pytest.mark.requires("supervise.one-unit")
def test_one_death_restarts_both(tmp_path: Path) -> None:
    # Third start of "b" asks the supervisor to stop; until then "b" dies and takes "a" with it.
    def starts(name: str) -> int:
        file = tmp_path / f"{name}.count"
        return len(file.read_text().splitlines()) if file.exists() else 0

    first = replace(
        _shell(tmp_path, "a", f"echo start >> a.count; {SLEEP}"), ready=lambda: starts("a") > starts("b")
    )
    script = f"echo start >> b.count; [ $(wc -l < b.count) -lt 3 ] && exit 1; kill -TERM $PPID; {SLEEP}"
    Unit((first, _shell(tmp_path, "b", script)), tmp_path, FAST_FOR_EVER).run()
    assert (tmp_path / "a.count").read_text() == "start\n" * 3
    assert (tmp_path / "b.count").read_text() == "start\n" * 3


@pytest.mark.requires("supervise.stops")
def test_sigterm_ends_both_and_returns(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    first = _shell(tmp_path, "a", SLEEP)
    Unit((first, _shell(tmp_path, "b", f"kill -TERM $PPID; {SLEEP}")), tmp_path, FAST).run()
    assert signal.getsignal(signal.SIGTERM) == before
    assert not list(tmp_path.glob("*.pid"))


@pytest.mark.requires("supervise.preflight")
def test_what_refuses_a_start_refuses_a_restart(tmp_path: Path) -> None:
    starts: list[int] = []

    def disk_fills_up() -> None:
        starts.append(1)
        if len(starts) == 2:
            raise EnvironmentFault(Code.DISK_FULL)

    with pytest.raises(EnvironmentFault) as fault:
        Unit((_shell(tmp_path, "a", "exit 1"),), tmp_path, FAST, before_start=disk_fills_up).run()
    assert fault.value.code == Code.DISK_FULL


@pytest.mark.requires("supervise.one-unit")
def test_the_next_member_waits_until_the_first_is_ready(tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    first = Member("a", ("sh", "-c", f"touch ready; {SLEEP}"), tmp_path / "a.log", ready=mark.exists)
    second = _shell(tmp_path, "b", f"test -e ready && echo after > b.seen; kill -TERM $PPID; {SLEEP}")
    Unit((first, second), tmp_path, FAST).run()
    assert (tmp_path / "b.seen").read_text() == "after\n"


@pytest.mark.requires("supervise.nothing-left")
def test_kill_9_of_the_supervisor_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from runtime.supervise import *\n"
        f"p = Path({str(tmp_path)!r})\n"
        "Unit((Member('a', ('sleep', '600'), p / 'a.log'),"
        " Member('b', ('sh', '-c', 'echo up > b.up; exec sleep 600'), p / 'b.log')), p).run()\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    try:
        members = [_await_pid(tmp_path / f"{name}.pid", supervisor) for name in ("a", "b")]
        handles = [os.pidfd_open(member.pid) for member in members]
        supervisor.kill()
        supervisor.wait()
        assert all(process.wait_gone(handle, 60) for handle in handles)
        for handle in handles:
            os.close(handle)
    finally:
        supervisor.kill()
        supervisor.wait()


def _await_pid(file: Path, supervisor: subprocess.Popen[bytes]) -> process.ProcessId:
    while supervisor.poll() is None:
        named = process.read_pid_file(file)
        if named is not None:
            return named
    pytest.fail("the supervisor ended by itself")


@pytest.mark.requires("supervise.logs-bounded")
def test_logs_are_bounded_while_the_writer_lives(tmp_path: Path) -> None:
    from runtime.logfile import bound_log, tail

    log = tmp_path / "x.log"
    child = process.start(["sh", "-c", "echo one; read x; echo two"], cwd=tmp_path, log=log)
    child.wait()
    log.write_bytes(b"x" * 5000 + b"\n")
    with log.open("ab") as writer:
        bound_log(log, 10_000)
        assert log.stat().st_size == 5001
        bound_log(log, 1000)
        assert log.stat().st_size == 0
        assert (tmp_path / "x.log.1").stat().st_size == 5001
        writer.write(b"next\n")
    assert tail(log) == ["next"]
    bound_log(tmp_path / "none", 1)
    assert tail(tmp_path / "none") == []
