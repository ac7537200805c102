"""Putting the audit around a server's chain, as long as it serves.

Owns the beginning and end of a log. Promises that a server with an audit serves nothing where its log cannot
be written, and that an end in order is signed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from identity.signer import Signer, generate_key, open_signer
from ledger.errors import Refused, unwritable
from mcp_server.audit.anchoring import Anchoring, Anchors, Keeper
from mcp_server.audit.audited import Audited
from mcp_server.audit.door import Door
from mcp_server.audit.files import OWN_KEY_NAME
from mcp_server.audit.opening import open_log
from mcp_server.audit.suspensions import Suspensions
from mcp_server.audit.writer import Clock, Identity, Settings
from mcp_server.chain import Chain


@dataclass(frozen=True, slots=True)
class Auditing:
    """How to audit.

    Attributes:
        folder: of the logs.
        signer: signs heads.
        node: the DID it signs as.
        chain_id: the ledger that is served.
        anchors: where heads are anchored; None for nowhere.
        suspensions: tell the ledger whom the guard suspended; None: nobody is told.
        door: counts who is not let in.
    """

    folder: Path
    signer: Signer
    node: str
    chain_id: str
    anchors: Anchors | None = None
    suspensions: Suspensions | None = None
    door: Door = field(default_factory=Door)


@contextlib.contextmanager
def audited(how: Auditing | None) -> Iterator[Callable[[Chain], Chain] | None]:
    """Open a log, give what puts the audit around a chain, and close the log; nothing for None.

    Raises:
        VerificationFailed, EnvironmentFault, Refused: as ``open_log``.
    """
    if how is None:
        yield None
        return
    clock = Clock(time.time_ns, time.monotonic_ns)
    log = open_log(how.folder, Identity(how.signer, how.node, how.chain_id, _version()), Settings(), clock)
    anchoring = None if how.anchors is None else Anchoring(log, how.anchors, time.monotonic)
    if how.suspensions is not None:
        how.suspensions.watch(log)
    keeper = Keeper(log, anchoring, how.suspensions, how.door)
    keeper.start()
    let_go = _end_in_order(keeper)
    try:
        yield lambda inner: Audited(inner, log, time.monotonic_ns, how.door)
    finally:
        keeper.stop()
        let_go()


def _end_in_order(keeper: Keeper) -> Callable[[], None]:
    """Have SIGTERM close the log before it ends the process, where nobody handles it yet.

    Gives what makes it end the process at once again, once the log is closed.
    """
    if threading.current_thread() is not threading.main_thread():
        return _nothing
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return _nothing
    came: list[int] = []

    def end(number: int, _frame: object) -> None:
        came.append(number)
        # This very thread may hold the log's lock: at the end of the input, or for the signal before.
        if not keeper.is_ending:
            keeper.stop(timeout_s=0.5)
            let_go()

    def let_go() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)
        if came:
            os.kill(os.getpid(), came[0])

    signal.signal(signal.SIGTERM, end)
    return let_go


def _nothing() -> None:
    """Nothing was handled."""


def own_signer(folder: Path) -> Signer:
    """Give the key of a server that nobody named one for: it is made beside its logs, and signs only them.

    Raises:
        Refused, EnvironmentFault: KEY_FILE_INVALID, DISK_FULL, HOME_INVALID.
    """
    path = folder / OWN_KEY_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unwritable(error, file=str(folder)) from None
    if not path.exists():
        # Another server may be making it at this very moment.
        with contextlib.suppress(Refused):
            return generate_key(path)
    return open_signer(f"file:{path}")


def _version() -> str:
    try:
        return version("conclave")
    except PackageNotFoundError:
        return "0"
