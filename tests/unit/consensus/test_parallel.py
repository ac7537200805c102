"""Checks shared out among threads answer as one loop would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from consensus.light import parallel
from consensus.light.parallel import ITEMS_MIN, THREADS, first_failing

WAIT_S = 60


@pytest.mark.requires("light.parallel-same")
def test_the_lowest_failure_counts_even_if_it_comes_last() -> None:
    later_failed = threading.Event()

    def holds(index: int) -> bool:
        if index == 0:
            assert later_failed.wait(WAIT_S)
            return False
        if index == 1:
            later_failed.set()
            return False
        return True

    assert first_failing(range(ITEMS_MIN), holds) == 0


@pytest.mark.requires("light.parallel-same")
@pytest.mark.parametrize("broken", [0, ITEMS_MIN - 1])
def test_a_check_that_breaks_is_not_taken_as_passed(broken: int) -> None:
    def holds(index: int) -> bool:
        if index == broken:
            raise ZeroDivisionError
        return True

    with pytest.raises(ZeroDivisionError):
        first_failing(range(ITEMS_MIN), holds)


class _Observed(ThreadPoolExecutor):
    """Says when one of its threads has come to the end of its share."""

    def __init__(self, ended: threading.Event) -> None:
        super().__init__(THREADS - 1)
        self._ended = ended

    def submit(self, work: Callable[[], None]) -> Future[None]:  # type: ignore[override]
        future = super().submit(work)
        future.add_done_callback(lambda _: self._ended.set())
        return future


@pytest.mark.requires("light.parallel-same")
@pytest.mark.parametrize("who", ["the caller", "another thread"])
def test_a_failure_ends_the_work_but_for_checks_already_begun(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    caller, over, asked, failing = threading.get_ident(), threading.Event(), [], threading.Lock()
    settle = parallel._settle

    def settling(others: list[Future[None]]) -> None:
        over.set()
        settle(others)

    def holds(index: int) -> bool:
        asked.append(index)
        if (threading.get_ident() == caller) is (who == "the caller") and failing.acquire(blocking=False):
            return False
        # Whoever fails gives up what waits before it goes on: only then do the others.
        assert over.wait(WAIT_S)
        return True

    with _Observed(over) as pool:
        monkeypatch.setattr(parallel, "_pool", lambda: pool)
        monkeypatch.setattr(parallel, "_settle", settling)
        assert first_failing(range(10 * ITEMS_MIN), holds) in asked
    assert len(asked) <= THREADS
