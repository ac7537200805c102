"""An audit log with a clock of its own, calls through it, and every small harm that can be done to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from identity.signer import FileSigner, Signer, generate_key
from ledger.errors import Code, VerificationFailed
from ledger.types import JsonObject
from mcp_server.audit.audited import Audited
from mcp_server.audit.files import Checked, Trust, absent, check, segments
from mcp_server.audit.opening import open_log
from mcp_server.audit.walk import Mark
from mcp_server.audit.writer import AuditLog, Clock, Identity, Settings
from mcp_server.chain import Call, Chain, Unguarded

BEGIN_NS = 1_800_000_000 * 10**9
AGENT = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
ANSWER: JsonObject = {"items": [], "readAt": {"height": 7, "ageSeconds": 1}}


class Ticking:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS

    def clock(self) -> Clock:
        """Give it as the log takes it."""
        return Clock(lambda: self.now_ns, lambda: self.now_ns)

    def seconds(self) -> float:
        """Give it as a clock that goes forward."""
        return self.now_ns / 10**9

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * 10**9)


@dataclass(slots=True)
class Server:
    """What stands for a server: a log, and a chain that writes into it."""

    root: Path
    signer: Signer
    time: Ticking
    log: AuditLog
    chain: Audited

    def call(
        self, name: str = "get_clusters", *, answer: JsonObject | None = None, **arguments: object
    ) -> Call:
        """Make a call of a tool, and be answered."""
        call = Call("tool", name, arguments, AGENT)
        self.time.pass_s(0.001)
        self.chain.before(call)
        self.chain.after(call, answer or ANSWER)
        return call

    @property
    def folder(self) -> Path:
        """The log's folder."""
        return self.log.folder


def key_in(folder: Path, name: str = "node") -> FileSigner:
    """Make a key, or open the one of that name."""
    from identity.signer import open_signer

    path = folder / f"{name}.pem"
    signer = open_signer(f"file:{path}") if path.exists() else generate_key(path)
    assert isinstance(signer, FileSigner)
    return signer


def start(
    folder: Path,
    *,
    settings: Settings | None = None,
    inner: Chain | None = None,
    time: Ticking | None = None,
    name: str = "node",
) -> Server:
    """Start a server whose audit is below ``folder``."""
    time, signer = time or Ticking(), key_in(folder, name)
    identity = Identity(signer, signer.did, "test-chain", "1")
    log = open_log(folder / "audit", identity, settings or Settings(), time.clock())
    return Server(
        folder / "audit", signer, time, log, Audited(inner or Unguarded(), log, lambda: time.now_ns)
    )


def kill(server: Server) -> None:
    """Let a server go as kill -9 does: nothing is written, the lock is free."""
    import os

    log = server.log
    for descriptor in (log._file, log._lock_file):
        os.close(descriptor)
    log._file = log._lock_file = -1


def a_log(folder: Path, calls: int = 6, *, settings: Settings | None = None) -> Path:
    """Give the folder of a log of several files that ended in order."""
    server = start(folder, settings=settings or Settings(head_records=5, segment_bytes=2500))
    for number in range(calls):
        server.call(place=number)
    server.log.close()
    return server.folder


def checked(folder: Path, *marks: Mark, keys: tuple[str, ...] = ()) -> Checked:
    """Verify one log; give what became of it."""
    trust = trusting(*marks, keys=keys)
    found = check([folder], trust, lambda _log, _record: None)
    missing = absent(found, trust)
    if missing is not None and found[0].error is None:
        found[0].error = missing
    return found[0]


def trusting(*marks: Mark, keys: tuple[str, ...] = ()) -> Trust:
    """Know these marks and keys."""
    by_log: dict[str, tuple[Mark, ...]] = {}
    for mark in marks:
        by_log[mark.log] = (*by_log.get(mark.log, ()), mark)
    return Trust(frozenset(keys), by_log)


def intact(folder: Path, *marks: Mark) -> Checked:
    """Say that a log verifies; give what was found."""
    found = checked(folder, *marks)
    assert found.error is None, found.error
    return found


def broken(folder: Path, *marks: Mark, keys: tuple[str, ...] = ()) -> VerificationFailed:
    """Say that a log does not verify; give why."""
    error = checked(folder, *marks, keys=keys).error
    assert error is not None
    return error


def all_lines(folder: Path) -> list[tuple[Path, list[bytes]]]:
    """Give the lines of each file, with their ends."""
    return [(path, path.read_bytes().splitlines(keepends=True)) for path in segments(folder)]


def harmed(folder: Path) -> Iterator[str]:
    """Do each structural harm in turn, undo it again; gives its name while it is done."""
    kept = [(path, path.read_bytes()) for path in segments(folder)]
    for path, content in kept:
        whole = content.splitlines(keepends=True)
        for place in range(len(whole)):
            others = {
                "left out": whole[:place] + whole[place + 1 :],
                "doubled": whole[: place + 1] + whole[place:],
                "moved": [*whole[:place], *whole[place + 1 : place + 2], whole[place], *whole[place + 2 :]],
            }
            for how, lines in others.items():
                if lines != whole and b"".join(lines) != content:
                    path.write_bytes(b"".join(lines))
                    yield f"{path.name}:{place + 1} {how}"
        path.unlink()
        yield f"{path.name} missing"
        path.write_bytes(content)


CODES = frozenset(
    {
        Code.AUDIT_RECORD_INVALID,
        Code.AUDIT_SEQUENCE_BROKEN,
        Code.AUDIT_SIGNATURE_INVALID,
        Code.AUDIT_CUT,
        Code.AUDIT_FORKED,
    }
)
