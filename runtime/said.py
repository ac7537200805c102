"""A coded error that another process of ours said, read back.

Owns the way from the JSON of an error (a last log line, a status file) to the error itself, so that whoever
started the process can raise the cause. Promises that any JSON gives an error or None. It opens nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed


def error_of(said: Any) -> ConclaveError | None:
    """Give the error that ``ConclaveError.to_json`` wrote; None for anything else.

    Codes of verification (5xx) come back as ``VerificationFailed``. Any other failure of a process that we
    started is one of our surroundings: ``EnvironmentFault``.
    """
    try:
        code, facts = Code[said["name"]], dict(said["facts"])
        texts = {name: str(said.get(name, "")) for name in ("got", "expected", "todo")}
        kind = VerificationFailed if 500 <= code < 600 else EnvironmentFault
        return kind(code, **texts, **facts)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def last_error(lines: Iterable[bytes | str]) -> ConclaveError | None:
    """Give the last coded error among log lines, the newest line last; None if there is none."""
    for line in reversed(list(lines)):
        try:
            found = error_of(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if found is not None:
            return found
    return None
