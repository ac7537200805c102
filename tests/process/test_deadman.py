"""A process that the kernel kills when it comes too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LATE = """
import os, sys, time
from k8s_bridge.deadman import Deadman, boot_clock
deadman = Deadman()
assert deadman.available
deadman.arm(boot_clock()() + 0.1); deadman.disarm(); time.sleep(0.2)
deadman.arm(boot_clock()() + float(sys.argv[1]))
while True:
    os.write(1, b"x")
    time.sleep(0.001)
"""


@pytest.mark.requires("bridge.late-writer")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs timer_create")
def test_a_process_stopped_past_its_deadline_does_nothing_more(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", LATE, "0.4"], stdout=output)
    try:
        while not (tmp_path / "out").stat().st_size:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        done = (tmp_path / "out").stat().st_size
        # Never continued: the kernel kills it as it stands.
        assert process.wait(10) == -signal.SIGKILL
        assert (tmp_path / "out").stat().st_size == done
    finally:
        process.kill()
        process.wait()
