"""One bridge as a process of its own, with the real wiring, over a ledger that is a file.

``python -m tests.support.writer_process KUBECONFIG HOME WISH``: WISH holds ``{"revision", "manifests"}``,
taken as final and verified. What would be reported goes to HOME/reports.jsonl. Its requests carry HOME's
name as user agent, so that the API server's audit log tells two of them apart.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from k8s_bridge import run as bridges
from k8s_bridge.connection import Connection, connect
from k8s_bridge.report import Finding
from k8s_bridge.settings import BridgeSettings
from k8s_bridge.source import Wanted
from ledger.errors import ConclaveError
from runtime import log
from tests.support.verified import CHAIN_ID, release


class FileLedger:
    """Wants what the file says, from the moment it is written."""

    def __init__(self, path: Path) -> None:
        self._path, self._shown = path, b""

    def look(self) -> Wanted | None:
        with contextlib.suppress(FileNotFoundError):
            content = self._path.read_bytes()
            if content != self._shown:
                self._shown = content
                wish = json.loads(content)
                wanted = release(wish["manifests"], revision=wish["revision"])
                return Wanted(wish["revision"], time.time_ns(), {wanted.value.name: wanted}, {})
        return None


class FileReports:
    """Writes findings down instead of sending them."""

    last_error: ConclaveError | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    def offer(self, finding: Finding) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"revision": finding.changes.revision}) + "\n")

    def forget(self) -> None:
        """Nothing waits."""

    def start(self) -> None:
        """Nothing runs."""

    def stop(self) -> None:
        """Nothing runs."""


def main(kubeconfig: str, home: Path, wish: Path) -> None:
    """Run until SIGTERM."""

    def named(*arguments: Any) -> Connection:
        connection = connect(*arguments)
        connection._api.user_agent = home.name
        return connection

    reader = MagicMock(chain_id=CHAIN_ID)
    stand_ins: dict[str, Any] = {
        "connect": named,
        "_root": lambda _: None,
        "node_key": lambda _: ("did:key:test", MagicMock(key_id="test")),
        "open_panel": lambda *_: MagicMock(),
        "_reader": lambda *_: reader,
        "Channel": lambda *_: None,
        "Reporter": lambda _, **__: FileReports(home / "reports.jsonl"),
        "LedgerSource": lambda *_: FileLedger(wish),
    }
    for name, stand_in in stand_ins.items():
        setattr(bridges, name, stand_in)
    log.configure()
    bridges.run(BridgeSettings("east", (), home, "", kubeconfig=kubeconfig))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
