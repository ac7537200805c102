"""Is this call the same thing again?

Owns the digests by which calls and answers are compared and the three counts: the same call, the same but for
ids and numbers without any progress, and a few calls in turns. Promises that progress ends a count: an answer
that differs. Source: docs/spec/mcp-guard.md §5.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from ledger.agent_policy import LoopLimits
from ledger.types import Json
from mcp_server.guard.limits import NS_PER_SECOND
from mcp_server.guard.state import Past

REFUSED = b"refused"
"""Stands for the answer of a call that was refused: no progress, whatever came before."""
PERIODS = (2, 3)
VOLATILE_FIELDS = ("_meta", "age", "ageSeconds", "height", "proof", "time")
"""Fields of an answer that differ from one block to the next though nothing happened."""
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z+/_=-]*+[0-9][A-Za-z0-9+/_=-]*+")
_IDS = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}+"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,18}(?:Z|[+-][0-9:]{5})"
)


class Loop(NamedTuple):
    """A count that reached the number from which it is warned of, and whether it is refused."""

    kind: str
    times: int
    is_refused: bool


def past_of(tool: str, text: str, now_ns: int) -> Past:
    """Give what is remembered of a call whose arguments read as ``text``."""
    exact = _digest(f"{tool}\n{text}")
    return Past(exact, _digest(f"{tool}\n{_TOKEN.sub('#', text)}"), now_ns)


def answer_of(result: Json) -> bytes:
    """Give the digest by which answers are compared: without what differs though nothing happened."""
    if type(result) is dict:
        result = {k: v for k, v in result.items() if k not in VOLATILE_FIELDS}
    text = json.dumps(result, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _digest(_IDS.sub("#", text))


def is_poll(history: Sequence[Past], call: Past, poll_seconds: int | None) -> bool:
    """Tell whether a call waits for something the way it was told to."""
    if poll_seconds is None:
        return False
    same = [p.at_ns for p in history if p.exact == call.exact]
    # What was never asked is no second asking: with another id each time it would never count.
    last = same or [p.at_ns for p in history if p.shape == call.shape]
    return not last or call.at_ns - last[-1] >= poll_seconds * NS_PER_SECOND


def find(history: Sequence[Past], call: Past, limits: LoopLimits) -> Loop | None:
    """Give the worst loop that a call is part of, None where it is something new."""
    first_ns = call.at_ns - limits.window_seconds * NS_PER_SECOND
    recent = [p for p in history[-limits.window_calls :] if p.at_ns >= first_ns and not p.is_poll]
    counts = (
        ("same-call", _same(recent, call), limits.same_warn_calls, limits.same_refuse_calls),
        (
            "no-progress",
            _no_progress(recent, call),
            limits.no_progress_warn_calls,
            limits.no_progress_refuse_calls,
        ),
        (
            "ping-pong",
            max(_cycles(recent, call, period) for period in PERIODS),
            limits.ping_pong_warn_cycles,
            limits.ping_pong_refuse_cycles,
        ),
    )
    found = [Loop(kind, n, n >= refuse) for kind, n, warn, refuse in counts if n >= warn]
    return max(found, key=lambda loop: loop.is_refused, default=None)


def _same(recent: Sequence[Past], call: Past) -> int:
    return 1 + _alike([p.answer for p in reversed(recent) if p.exact == call.exact])


def _no_progress(recent: Sequence[Past], call: Past) -> int:
    # Calls still unanswered may be a fan-out over many ids: they say nothing yet.
    return 1 + _alike([p.answer for p in reversed(recent) if p.shape == call.shape and p.answer is not None])


def _alike(answers: Sequence[bytes | None]) -> int:
    """Count from the newest answer back to the first that differs."""
    known: bytes | None = None
    for count, answer in enumerate(answers):
        if answer is None or answer == REFUSED:
            continue
        if known is not None and answer != known:
            return count
        known = answer
    return len(answers)


def _cycles(recent: Sequence[Past], call: Past, period: int) -> int:
    """Count how often the last ``period`` different calls came in turns, with the answers they had."""
    run = [*recent, call]
    turns = run[-period:]
    if len(turns) < period or len({p.shape for p in turns}) < period:
        return 0
    same = 0
    for later, earlier in zip(reversed(run), reversed(run[:-period]), strict=False):
        pending = later is call or REFUSED in (later.answer, earlier.answer)
        if later.shape != earlier.shape or not (pending or later.answer == earlier.answer is not None):
            break
        same += 1
    return (same + period) // period if same else 0


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
