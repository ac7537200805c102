"""Finding a log to write to.

Owns the folders below one root: each holds one log, and one process writes to it. Promises that two servers
never write to one log, and that a log is only ever continued under the key, node and chain it began with.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from pathlib import Path

from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed, unwritable
from ledger.keys import Algorithm
from mcp_server.audit import limits
from mcp_server.audit.digests import KEY_BYTES
from mcp_server.audit.files import KEY_NAME, LOCK_NAME, lines, segments
from mcp_server.audit.recovery import damaged
from mcp_server.audit.walk import Walk
from mcp_server.audit.writer import AuditLog, Clock, Identity, Place, Settings

LOOKERS_WAITED_FOR_MAX = 100
"""How often a lock is asked for that somebody only looks at (``files.is_live``): they let go at once."""
LOOKER_SECONDS = 0.02
_FOLDER = "log-{}"
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def open_log(root: Path, identity: Identity, settings: Settings, clock: Clock) -> AuditLog:
    """Open a log below ``root`` that nobody else writes to, one of this key's, or begin one.

    Raises:
        Refused: KEY_INVALID for a key that is not ed25519.
        VerificationFailed: AUDIT_… where the log there does not verify.
        EnvironmentFault: STATE_LOCKED where ``LOGS_MAX`` are in use; DISK_FULL, HOME_INVALID,
            STATE_IO_FAILED.
    """
    if identity.signer.algorithm is not Algorithm.ED25519:
        raise Refused(
            Code.KEY_INVALID,
            got=identity.signer.algorithm.value,
            expected="an ed25519 key, whose id is the key itself",
            todo="name one with --node-key",
        )
    for number in range(1, limits.LOGS_MAX + 1):
        folder = root / _FOLDER.format(number)
        lock = _locked(folder)
        if lock is None:
            continue
        try:
            if not _is_ours(folder, identity):
                os.close(lock)
                continue
            log = AuditLog(Place(folder, lock, _digest_key(folder)), identity, settings, clock)
            log.begin()
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(lock)
            raise
        return log
    raise EnvironmentFault(
        Code.STATE_LOCKED,
        got=f"{root}: {limits.LOGS_MAX} audit logs, all of other servers",
        expected="a free one",
        todo="end servers that nobody needs, or move old logs away",
        file=str(root),
    )


def _locked(folder: Path) -> int | None:
    """Lock a log's folder, made if it is not there; None where another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as error:
        raise unwritable(error, file=str(folder)) from None
    try:
        if _taken(lock):
            return lock
    except OSError as error:
        os.close(lock)
        raise unwritable(error, file=str(folder)) from None
    os.close(lock)
    return None


def _taken(lock: int) -> bool:
    """Take a lock that no writer has; one who looks whether there is a writer shares it for a moment."""
    for _ in range(LOOKERS_WAITED_FOR_MAX):
        if _flocked(lock, fcntl.LOCK_EX):
            return True
        if not _flocked(lock, fcntl.LOCK_SH):
            return False
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(LOOKER_SECONDS)
    return False


def _flocked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_ours(folder: Path, identity: Identity) -> bool:
    """Tell whether a folder holds no log yet, or one of this key, node and chain."""
    found = segments(folder)
    if not found:
        return True
    walk = Walk(begins_anywhere=True)
    for line in lines(found[-1]):
        try:
            walk.step(line.content)
        except VerificationFailed as failed:
            raise damaged(failed, found[-1]) from None
        break
    header = walk.header
    if header is None:
        empty = VerificationFailed(Code.AUDIT_RECORD_INVALID, got="an empty file", expected="its header")
        raise damaged(empty, found[-1])
    ours = (identity.signer.key_id, identity.node, identity.chain)
    return (header.key, header.node, header.chain) == ours


def _digest_key(folder: Path) -> bytes:
    """Give the key of the log's digests, made with the log."""
    path = folder / KEY_NAME
    try:
        if not path.exists():
            staged = folder / f"{KEY_NAME}.new"
            file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(secrets.token_bytes(KEY_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            staged.replace(path)
        content = path.read_bytes()
    except OSError as error:
        raise unwritable(error, file=str(path)) from None
    if len(content) != KEY_BYTES:
        raise EnvironmentFault(
            Code.HOME_INVALID, got=f"{path}: {len(content)} bytes", expected=f"{KEY_BYTES}", file=str(path)
        )
    return content
