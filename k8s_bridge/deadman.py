"""A process that came too late is not to go on.

Owns one timer of the kernel that kills this process, with SIGKILL, at a moment it was set to. Promises that a
process which was stopped or not scheduled past that moment does not execute one more instruction: the kernel
kills it while it is stopped. The clock counts the time the machine slept. Where the system has no such timer
(not Linux) nothing is armed and ``available`` is false. Decides nothing.

Source: timer_create(2), signal(7); the kernel wakes a stopped process for SIGKILL alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

from runtime.clock import NS_PER_S

_SIGEV_SIGNAL = 0
_TIMER_ABSTIME = 1


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("room", ctypes.c_int * 12),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


def boot_clock() -> Callable[[], float]:
    """Give a clock in seconds that never goes back and counts the time the machine slept."""
    number = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return lambda: time.clock_gettime(number)


class Deadman:
    """The timer of this process; forked children have none."""

    def __init__(self) -> None:
        self._timer: ctypes.c_void_p | None = None
        if not sys.platform.startswith("linux"):
            return
        self._libc = ctypes.CDLL(None, use_errno=True)
        timer, wanted = ctypes.c_void_p(), _SigEvent(None, signal.SIGKILL, _SIGEV_SIGNAL)
        if self._libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(wanted), ctypes.byref(timer)) == 0:
            self._timer = timer

    @property
    def available(self) -> bool:
        """Whether the kernel gave a timer."""
        return self._timer is not None

    def arm(self, at_s: float) -> None:
        """Have this process killed at a moment of ``boot_clock``, at once if that is over.

        A moment and no span: whatever happens on the way here, it does not move.
        """
        self._set(max(at_s, 0.001))

    def disarm(self) -> None:
        """Let it live."""
        self._set(0.0)

    def _set(self, at_s: float) -> None:
        if self._timer is None:
            return
        whole, rest = divmod(int(at_s * NS_PER_S), NS_PER_S)
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(whole, rest))
        if self._libc.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
