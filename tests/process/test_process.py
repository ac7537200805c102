"""Processes named by pid and start time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ledger.errors import Code, EnvironmentFault
from runtime import process
from runtime.process import ProcessId


@pytest.mark.requires("process.recycled-pid")
def test_a_recycled_pid_is_not_ours_and_not_killed(tmp_path: Path) -> None:
    child = process.start(["sleep", "600"], cwd=tmp_path, log=tmp_path / "log")
    try:
        named = process.identify(child.pid)
        assert named is not None
        assert process.is_alive(named)
        stranger = ProcessId(child.pid, named.start_time - 1)
        assert not process.is_alive(stranger)
        assert process.stop(stranger, grace_s=60)
        assert process.is_alive(named)
        assert process.stop(named, grace_s=60)
        assert child.wait() == -15
        assert not process.is_alive(named)
    finally:
        child.kill()
        child.wait()


@pytest.mark.requires("process.stop-bounded")
def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    script = f"trap '' TERM; echo ready > /proc/self/fd/{writer}; exec sleep 600"
    child = subprocess.Popen(["sh", "-c", script], pass_fds=(writer,), start_new_session=True)
    os.close(writer)
    assert os.read(reader, 8) == b"ready\n"
    os.close(reader)
    named = process.identify(child.pid)
    assert named is not None
    assert not process.stop(named, grace_s=0.1)
    assert child.wait() == -9


@pytest.mark.requires("process.recycled-pid")
def test_a_zombie_counts_as_gone(tmp_path: Path) -> None:
    child = process.start(["sh", "-c", "exit 0"], cwd=tmp_path, log=tmp_path / "log")
    handle = os.pidfd_open(child.pid)
    assert process.wait_gone(handle, 60)
    os.close(handle)
    assert process.identify(child.pid) is None
    child.wait()


@pytest.mark.requires("process.recycled-pid")
def test_pid_files(tmp_path: Path) -> None:
    file = tmp_path / "x.pid"
    own = process.identify(os.getpid())
    assert own is not None
    process.write_pid_file(file, own)
    assert process.read_pid_file(file) == own
    process.write_pid_file(file, ProcessId(own.pid, own.start_time + 1))
    assert process.read_pid_file(file) is None
    for junk in (b"", b"\xff\xfe", b"[1]", b'{"pid": 1, "startTime": 1}', b'{"pid": "x"}', b"[" * 200):
        file.write_bytes(junk)
        assert process.read_pid_file(file) is None
    file.write_text(f'{{"pid": {2**80}, "startTime": 1}}')
    assert process.read_pid_file(file) is None


@pytest.mark.requires("process.start-refused")
def test_a_missing_program_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        process.start([str(tmp_path / "none")], cwd=tmp_path, log=tmp_path / "log")
    assert fault.value.code == Code.TOOL_MISSING
    with pytest.raises(EnvironmentFault) as fault:
        process.start(["true"], cwd=tmp_path / "none", log=tmp_path / "log")
    assert fault.value.code == Code.HOME_INVALID
    with pytest.raises(EnvironmentFault) as fault:
        process.start(["true"], cwd=tmp_path, log=tmp_path / "none" / "log")
    assert fault.value.code == Code.HOME_INVALID
