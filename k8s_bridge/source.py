"""What the verified ledger wants of this cluster.

Owns the reading of one cluster's releases at the newest provable height. Promises that everything it gives
was proven by ``consensus.reader``, that a release which does not verify hides none of the others, and that a
revision already verified is not fetched again. Never falls back to anything unproven or stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consensus import release_reader
from consensus.operators import Evidence
from consensus.reader import VerifiedReader, View, check_fresh
from consensus.verified import Verified
from ledger.errors import ConclaveError, EnvironmentFault
from ledger.release import ReleaseRevision


@dataclass(frozen=True, slots=True)
class Wanted:
    """One look at the ledger.

    Attributes:
        height: the height whose state was read.
        time_ns: the proving header's time, nanoseconds since the epoch.
        releases: what must run, by release.
        refused: why a release does not verify, by release.
    """

    height: int
    time_ns: int
    releases: Mapping[str, Verified[ReleaseRevision]]
    refused: Mapping[str, ConclaveError]


class LedgerSource:
    """Reads the releases of one cluster.

    Args:
        reader: verifies.
        cluster: whose releases.
    """

    def __init__(self, reader: VerifiedReader, cluster: str) -> None:
        self._reader = reader
        self._cluster = cluster
        self._evidence = Evidence(reader.chain_id)
        self._known: dict[str, Verified[ReleaseRevision]] = {}
        self._height = 0

    @property
    def chain_id(self) -> str:
        """The chain of the root of trust."""
        return self._reader.chain_id

    def look(self) -> Wanted | None:
        """Read what is wanted at the newest provable height; None when nothing is newer than last time.

        Raises:
            VerificationFailed: whatever does not verify, STALE.
            EnvironmentFault: the node does not answer.
            Refused: CLUSTER_UNKNOWN and other answers of the ledger.
        """
        if self._height and self._reader.newest_height() <= self._height + 1:
            return None
        view = self._reader.at()
        check_fresh(view)
        releases: dict[str, Verified[ReleaseRevision]] = {}
        refused: dict[str, ConclaveError] = {}
        for name in release_reader.releases(view, self._cluster).value:
            try:
                releases[name] = self._release(view, name)
            except EnvironmentFault:
                raise
            except ConclaveError as error:
                refused[name] = error
        self._known, self._height = releases, view.height
        return Wanted(view.height, view.time_ns, releases, refused)

    def _release(self, view: View, name: str) -> Verified[ReleaseRevision]:
        known = self._known.get(name)
        if (
            known is not None
            and release_reader.release_record(view, name).value.revision == known.value.revision
        ):
            return known
        return release_reader.release(view, self._cluster, name, evidence=self._evidence)
