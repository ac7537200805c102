"""Verified release revisions without a ledger, for tests of what comes after verification."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from consensus.verified import _SEAL, Verified
from ledger.records import DesiredState
from ledger.release import ReleaseRevision
from ledger.types import JsonObject

CHAIN_ID = "conclave-test"
T = TypeVar("T")


def verified(
    value: T, *, height: int = 7, time_ns: int = 1_800_000_000 * 10**9, chain_id: str = CHAIN_ID
) -> Verified[T]:
    """Seal any value as if it had been proven."""
    return Verified(value, height, time_ns, chain_id, _SEAL)


def release(
    manifests: Sequence[JsonObject], *, name: str = "guestbook", revision: int = 1, cluster: str = "east"
) -> Verified[ReleaseRevision]:
    """Seal a release revision of these manifests."""
    return verified(
        ReleaseRevision(
            name=name,
            revision=revision,
            digest="00" * 32,
            content_proposal="11" * 32,
            authority_proposal="11" * 32,
            clusters=(cluster,),
            namespace="default",
            manifests=tuple(manifests),
            height=5,
            approvers=(),
        )
    )


def deleted(manifests: Sequence[JsonObject], *, prune: bool = True) -> Verified[ReleaseRevision]:
    """Seal the end of the first revision of ``guestbook``."""
    ended = release(manifests).value
    return verified(dataclasses.replace(ended, state=DesiredState.DELETED, prune=prune))
