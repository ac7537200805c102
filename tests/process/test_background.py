"""Background processes: recognised, waited for, stopped for certain."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from conclave import processes
from ledger.errors import Code, EnvironmentFault
from runtime import process

PATIENCE_S = 120

FOR_EVER = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"]


@pytest.mark.requires("cli.processes")
def test_a_process_starts_once_and_stops_for_certain(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log" / "a.log"
    assert processes.start("node-0", FOR_EVER, run=run, log=log)
    try:
        assert not processes.start("node-0", FOR_EVER, run=run, log=log)
        processes.wait_until(
            lambda: b"ready" in log.read_bytes(),
            name="node-0",
            run=run,
            log=log,
            seconds=PATIENCE_S,
            what="ready",
        )
        assert processes.running(run) == ["node-0"]
    finally:
        said: list[str] = []
        assert processes.stop_all(run, said.append) == ["node-0"]
    assert said == ["stopped node-0"]
    assert processes.running(run) == []
    assert list(run.iterdir()) == []


@pytest.mark.requires("cli.processes")
def test_a_process_that_dies_shows_its_last_lines(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "a.log"
    processes.start("node-0", [sys.executable, "-c", "print('no disk'); exit(3)"], run=run, log=log)
    with pytest.raises(EnvironmentFault) as fault:
        processes.wait_until(lambda: False, name="node-0", run=run, log=log, seconds=PATIENCE_S, what="ready")
    assert fault.value.code is Code.PROCESS_DIED
    assert fault.value.facts["lines"] == ["no disk"]
    processes.stop(run, "node-0")


@pytest.mark.requires("cli.processes")
def test_the_coded_error_a_process_logged_last_is_told_and_no_older_one(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "a.log"
    log.write_text(json.dumps({"name": "DISK_FULL", "facts": {}}) + "\n")
    said = json.dumps({"name": "PORT_TAKEN", "got": "in use", "todo": "free it", "facts": {"port": 1}})
    for argv, code in (
        ([sys.executable, "-c", f"print({said!r}); print('bye')"], Code.PORT_TAKEN),
        ([sys.executable, "-c", "print('nothing said')"], Code.PROCESS_DIED),
    ):
        processes.start("node-0", argv, run=run, log=log)
        with pytest.raises(EnvironmentFault) as fault:
            processes.wait_until(
                lambda: False, name="node-0", run=run, log=log, seconds=PATIENCE_S, what="ready"
            )
        processes.stop(run, "node-0")
        assert fault.value.code is code


@pytest.mark.requires("cli.processes")
def test_a_process_that_is_not_ready_in_time_is_told(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "a.log"
    processes.start("node-0", FOR_EVER, run=run, log=log)
    try:
        with pytest.raises(EnvironmentFault) as fault:
            processes.wait_until(lambda: False, name="node-0", run=run, log=log, seconds=0, what="ready")
    finally:
        processes.stop(run, "node-0")
    assert fault.value.code is Code.TIMEOUT


@pytest.mark.requires("cli.processes")
def test_a_recycled_pid_is_never_signalled(tmp_path: Path) -> None:
    (tmp_path / "node-0.json").write_text(json.dumps({"pid": os.getpid(), "startTime": 1}))
    (tmp_path / "node-1.json").write_text("garbage")
    assert processes.running(tmp_path) == []
    assert processes.stop_all(tmp_path, lambda _: None) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requires("cli.processes")
def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        processes.start("node-0", ["/nonexistent/cometbft"], run=tmp_path / "run", log=tmp_path / "a.log")
    assert fault.value.code is Code.TOOL_MISSING


@pytest.mark.requires("cli.processes")
def test_a_process_that_cannot_be_remembered_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[process.ProcessId] = []

    def full(path: Path, named: process.ProcessId) -> None:
        started.append(named)
        raise OSError(errno.ENOSPC, "no room", str(path))

    monkeypatch.setattr(process, "write_pid_file", full)
    with pytest.raises(EnvironmentFault) as fault:
        processes.start("node-0", FOR_EVER, run=tmp_path / "run", log=tmp_path / "a.log")
    assert fault.value.code is Code.DISK_FULL
    assert not process.is_alive(started[0])
