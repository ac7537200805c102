"""Whoever reads takes a turn: one at a time, lanes by turns, those who wait bounded and let go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from ledger.errors import Code, EnvironmentFault
from mcp_server import turn as turns
from mcp_server.turn import Turn


class Held:
    """A turn that is taken until a test lets it go, and the order of those behind it."""

    def __init__(self) -> None:
        self.turn, self.goes_on, self.order = Turn(), threading.Event(), list[str]()

    async def hold(self) -> None:
        await self.turn.take(lambda: self.goes_on.wait(60), "first", 1)

    def asking(self, lane: str, waiting_max: int = 9) -> Callable[[], Coroutine[Any, Any, None]]:
        return lambda: self.turn.take(lambda: self.order.append(lane), lane, waiting_max)


async def settled() -> None:
    """Let everybody come as far as they can."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


def code_of(raised: pytest.ExceptionInfo[EnvironmentFault]) -> Code:
    return raised.value.code


@pytest.mark.requires("mcp.turns")
def test_lanes_come_by_turns_however_many_wait_in_one() -> None:
    held = Held()

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(held.hold)
            await settled()
            for _ in range(6):
                group.start_soon(held.asking("strangers"))
            for lane in ("calls", "calls", "tokens"):
                group.start_soon(held.asking(lane))
            await settled()
            held.goes_on.set()
        await held.asking("calls")()

    anyio.run(work)
    assert held.order == ["strangers", "calls", "tokens", "strangers", "calls", *["strangers"] * 4, "calls"]


@pytest.mark.requires("mcp.turns")
def test_a_full_lane_refuses_its_own_and_who_waits_too_long_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "WAITING_SECONDS_MAX", 0.02)
    held = Held()

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(held.hold)
            await settled()
            with pytest.raises(EnvironmentFault) as raised:
                await held.asking("tokens")()
            assert code_of(raised) is Code.TIMEOUT
            with anyio.move_on_after(0.001):
                await held.asking("tokens")()
            monkeypatch.setattr(turns, "WAITING_SECONDS_MAX", 60)
            group.start_soon(held.asking("tokens", 1))
            await settled()
            with pytest.raises(EnvironmentFault) as raised:
                await held.asking("tokens", 1)()
            assert code_of(raised) is Code.TIMEOUT
            group.start_soon(held.asking("calls", 1))
            await settled()
            held.goes_on.set()

    anyio.run(work)
    assert held.order == ["tokens", "calls"], "who gave up took no turn, and the others got theirs"


@pytest.mark.requires("mcp.turns")
def test_a_turn_ends_with_a_failure_and_with_who_is_gone() -> None:
    held = Held()

    async def work() -> None:
        def fails() -> None:
            raise ValueError("of the work")

        with pytest.raises(ValueError, match="of the work"):
            await held.turn.take(fails, "calls", 1)
        async with anyio.create_task_group() as group:
            group.start_soon(held.hold)
            await settled()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as gone:
                    gone.start_soon(held.asking("gone"))
                    await settled()
                    scope.cancel()
            group.start_soon(held.asking("calls"))
            await settled()
            held.goes_on.set()

    anyio.run(work)
    assert held.order == ["calls"]
