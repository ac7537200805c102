"""Walking from a trusted height to a target in as few steps as trust allows.

Owns the search of light/client.go ``verifySkipping`` as a generator: it asks for heights and is given
blocks, so that fetching stays outside. Promises a bounded number of requests and a trace in which every
block was verified on the ground of the one before. Never performs I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from consensus.light.types import LightBlock, Options, Trusted
from consensus.light.verdict import Invalid, Ok
from consensus.light.verifier import verify
from ledger.errors import Code, VerificationFailed

REQUESTS_MAX = 1000
"""A set that changes completely every other height over a 500-height gap still passes."""

Walk = Generator[int, LightBlock, Trusted]
"""Yields heights, takes the light block of each, returns the verified target."""


def bisect(
    trusted: Trusted,
    target_height: int,
    options: Options,
    now_ns: int,
    *,
    trace: list[Trusted],
    requests_max: int = REQUESTS_MAX,
) -> Walk:
    """Verify ``target_height`` from ``trusted``, asking for heights between where trust does not reach.

    Source: [LCV-FUNC-MAIN.2], [LCV-FUNC-SCHEDULE.1].

    Args:
        trusted: the ground; needs ``next_validators`` unless the target is adjacent.
        target_height: above it.
        options: periods and trust level.
        now_ns: the present, one for the whole walk.
        trace: every block verified is appended at once, so that it outlives a walk broken off.
        requests_max: how many blocks may be asked for.

    Raises:
        VerificationFailed: the refusal of the block that does not verify; HEADER_NOT_NEWER for a target not
            above the trusted height; COMMIT_MISMATCH for a block of another height than asked;
            BISECTION_EXHAUSTED after ``requests_max`` requests.
    """
    if target_height <= trusted.height:
        raise VerificationFailed(
            Code.HEADER_NOT_NEWER, got=target_height, expected=f"a height above {trusted.height}"
        )
    pending: list[LightBlock] = []
    wanted = target_height
    for _ in range(requests_max):
        block = yield wanted
        if block.height != wanted:
            raise VerificationFailed(
                Code.COMMIT_MISMATCH, got=block.height, expected=f"the block of height {wanted}"
            )
        pending.append(block)
        trusted = _advance(trusted, pending, trace, options, now_ns)
        if not pending:
            return trusted
        wanted = (trusted.height + pending[-1].height) // 2
    raise VerificationFailed(
        Code.BISECTION_EXHAUSTED,
        got=f"{requests_max} blocks, verified up to {trusted.height}",
        expected=f"height {target_height}",
        todo="try again; if it stays so, name a newer header: conclave trust --help",
    )


def _advance(
    trusted: Trusted, pending: list[LightBlock], trace: list[Trusted], options: Options, now_ns: int
) -> Trusted:
    """Verify from the nearest pending block outwards until one is out of reach or none is left."""
    while pending:
        verdict = verify(pending[-1], trusted, options, now_ns)
        if isinstance(verdict, Invalid):
            raise verdict.error
        if not isinstance(verdict, Ok):
            break
        trusted = verdict.trusted
        trace.append(trusted)
        pending.pop()
    return trusted


def drive(walk: Walk, fetch: Callable[[int], LightBlock]) -> Trusted:
    """Run ``walk`` to its end, answering each height with ``fetch``.

    Raises:
        VerificationFailed: as the walk; whatever ``fetch`` raises passes through.
    """
    try:
        wanted = next(walk)
        while True:
            wanted = walk.send(fetch(wanted))
    except StopIteration as stop:
        target: Trusted = stop.value
        return target
