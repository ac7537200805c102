"""A process that the kernel kills when it comes too late."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

LATE = """
import os, signal
from k8s_bridge.deadman import Deadman, boot_clock
deadman = Deadman()
assert deadman.available
deadman.arm(boot_clock()() + 1.0)
os.write(1, b"armed")
os.kill(os.getpid(), signal.SIGSTOP)
os.write(1, b" and went on")
"""
LEFT = """
import ctypes
from k8s_bridge.deadman import Deadman, _TimerSpec, boot_clock
def left_s():
    found = _TimerSpec()
    assert deadman._libc.timer_gettime(deadman._timer, ctypes.byref(found)) == 0
    return found.value.seconds
deadman = Deadman()
deadman.arm(boot_clock()() + 1000.0)
print(0 < left_s() <= 1000)
deadman.disarm()
print(left_s())
"""
PATIENCE_S = 120


@pytest.mark.requires("bridge.late-writer")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs timer_create")
def test_a_process_stopped_past_its_deadline_does_nothing_more() -> None:
    with subprocess.Popen([sys.executable, "-c", LATE], stdout=subprocess.PIPE) as process:
        try:
            # Stopped by itself and never continued: the kernel kills it as it stands.
            assert process.wait(PATIENCE_S) == -signal.SIGKILL
        finally:
            process.kill()
        assert process.stdout is not None
        assert process.stdout.read() in (b"armed", b"")


@pytest.mark.requires("bridge.late-writer")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs timer_create")
def test_a_timer_that_was_disarmed_is_over() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.stdout.split() == [b"True", b"0"], done.stderr
