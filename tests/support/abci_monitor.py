"""What CometBFT asked an application, in order, and whether the order is ABCI 2.0's.

Owns ``Monitor`` (an application that notes each call before it is answered, one line a call, also across
kill -9) and ``Grammar`` (the judgement over such a record, one life after another). The monitor changes no
answer. Source: CometBFT v0.38 spec/abci/abci++_comet_expected_behavior.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from abci_app.abci import METHODS, Application

RECORD = "abci-calls.log"
START = "start"
ANYTIME = frozenset({"query", "check_tx", "recheck_tx", "list_snapshots", "load_snapshot_chunk"})
SNAPSHOT = frozenset({"offer_snapshot", "apply_snapshot_chunk"})
PROPOSAL = frozenset({"prepare_proposal", "process_proposal"})


class Monitor:
    """An application's calls, noted in the home's ``abci-calls.log``."""

    def __init__(self, application: Application, home: Path) -> None:
        self._application = application
        self._file = os.open(home / RECORD, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._note(START)
        for name in METHODS:
            setattr(self, name, self._noting(name, getattr(application, name)))

    def close(self) -> None:
        """Release the application."""
        self._application.close()
        os.close(self._file)

    def _noting(self, name: str, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def noted(request: Any) -> Any:
            if name == "info":
                answer = call(request)
                self._note(name, answer.last_block_height)
                return answer
            recheck = name == "check_tx" and request.type != 0
            self._note("recheck_tx" if recheck else name, getattr(request, "height", 0))
            return call(request)

        return noted

    def _note(self, name: str, height: int = 0) -> None:
        os.write(self._file, f'["{name}",{height}]\n'.encode())


class Grammar:
    """Follows a record call by call; ``violations`` says what no correct CometBFT asks.

    Attributes:
        seen: how often each call came; ``replayed`` counts blocks executed without a proposal before them.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.seen: Counter[str] = Counter()
        self._height = 0
        self._state = "end"
        self._proposed = False
        self._known: tuple[int, ...] = (0,)

    @classmethod
    def judge(cls, calls: Iterable[tuple[str, int]]) -> Grammar:
        """Judge a whole record."""
        grammar = cls()
        for name, height in calls:
            grammar.call(name, height)
        return grammar

    def call(self, name: str, height: int) -> None:
        """Take the next call: for info the height it answered, else the height it was about."""
        self.seen[name] += 1
        match name:
            case "start":
                self._end_life()
            case "info":
                self._info(height)
            case "init_chain":
                self._expect(name, self._state == "greeted" and self._height == 0, height)
                self._state = "ready"
            case "finalize_block":
                self._expect(name, self._state in ("greeted", "ready"), height)
                self._expect(name, height == self._height + 1, height)
                self._expect(name, self._state == "ready" or self._height > 0, height)
                self.seen["replayed"] += not self._proposed
                self._state = "finalized"
            case "commit":
                self._expect(name, self._state == "finalized", self._height + 1)
                self._height, self._state, self._proposed = self._height + 1, "ready", False
                # This commit may be cut short: the next life has it or not.
                self._known = (self._height - 1, self._height)
            case _ if name in PROPOSAL:
                self._expect(name, self._state in ("greeted", "ready"), height)
                self._expect(name, height == self._height + 1, height)
                self._proposed = True
            case _ if name in SNAPSHOT:
                self._expect(name, self._state in ("greeted", "ready") and self._height == 0, height)
            case "recheck_tx":
                self._expect(name, self._state in ("ready", "finalized"), height)
            case _:
                self._expect(name, name in ANYTIME and self._state not in ("end", "started"), height)

    def _info(self, height: int) -> None:
        if self._state == "started":
            self._expect("info", height in self._known, height)
            self._height, self._state = height, "greeted"
        else:
            self._expect("info", height == self._height and self._state != "end", height)

    def _end_life(self) -> None:
        self._state, self._proposed = "started", False

    def _expect(self, name: str, holds: bool, height: int) -> None:
        if not holds:
            place = f"call {sum(self.seen.values())}"
            self.violations.append(f"{place}: {name} at {height} when {self._state} after {self._height}")


def read_record(home: Path) -> list[tuple[str, int]]:
    """Give the calls that a home's monitor noted."""
    lines = (home / RECORD).read_text().splitlines()
    return [(str(name), int(height)) for name, height in map(json.loads, lines)]
