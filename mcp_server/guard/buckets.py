"""Token buckets in whole numbers: exact, whatever the rate and however often they are asked.

A bucket holds ``capacity`` and refills evenly in ``per_seconds``. Its level is kept in tokens times the
period in nanoseconds, so that no refill is ever rounded. A clock that goes back refills nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.agent_policy import Rate
from mcp_server.guard.limits import NS_PER_SECOND


class Bucket(NamedTuple):
    """What is left, in tokens times nanoseconds of the period, and when that was so."""

    level: int
    at_ns: int


class Taken(NamedTuple):
    """The bucket after a try; ``wait_ns`` is 0 if it paid, -1 if it never can, else until it could."""

    bucket: Bucket
    wait_ns: int


def take(bucket: Bucket | None, rate: Rate, amount: int, now_ns: int) -> Taken:
    """Take ``amount`` from a bucket, full where there is none yet; all of it or nothing."""
    now = refilled(bucket, rate, now_ns)
    cost = amount * rate.per_seconds * NS_PER_SECOND
    if cost <= now.level:
        return Taken(Bucket(now.level - cost, now.at_ns), 0)
    if amount > rate.capacity:
        return Taken(now, -1)
    return Taken(now, -(-(cost - now.level) // rate.capacity))


def refilled(bucket: Bucket | None, rate: Rate, now_ns: int) -> Bucket:
    """Give the bucket as it is now."""
    full = rate.capacity * rate.per_seconds * NS_PER_SECOND
    if bucket is None:
        return Bucket(full, now_ns)
    elapsed_ns = max(0, now_ns - bucket.at_ns)
    return Bucket(min(full, bucket.level + elapsed_ns * rate.capacity), max(now_ns, bucket.at_ns))
