"""What the verified ledger wants of this cluster.

Owns the reading of what one cluster shall have at the newest provable height. Promises that everything it
gives was proven by ``consensus.reader``, that a release which does not verify or is frozen hides none of the
others, and that a revision already verified is not fetched again. Never falls back to anything unproven or
stale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consensus import release_reader
from consensus.operators import Evidence
from consensus.reader import VerifiedReader, View, check_fresh
from consensus.verified import Verified
from k8s_bridge.desired import namespaces_of
from ledger import freezing
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.records import DesiredRecord, FreezeRecord
from ledger.release import ReleaseRevision


@dataclass(frozen=True, slots=True)
class Wanted:
    """One look at the ledger.

    Attributes:
        height: the height whose state was read.
        time_ns: the proving header's time, nanoseconds since the epoch.
        releases: what must run, or leave, by release.
        refused: why a release is not to be touched, by release: it does not verify, or is frozen.
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
        self._known: dict[str, tuple[_Basis, Verified[ReleaseRevision]]] = {}
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
        frozen = release_reader.freezes(view).value
        names = release_reader.releases(view, self._cluster).value
        for name in names:
            try:
                found = self._release(view, name)
                if found is not None:
                    self._check_not_frozen(frozen, found.value)
                    releases[name] = found
            except EnvironmentFault:
                raise
            except ConclaveError as error:
                refused[name] = error
        self._known = {name: known for name, known in self._known.items() if name in names}
        self._height = view.height
        return Wanted(view.height, view.time_ns, releases, refused)

    def _release(self, view: View, name: str) -> Verified[ReleaseRevision] | None:
        """Give what the cluster shall have of a release; None before the rollout has reached it."""
        basis = _basis(view, self._cluster, name)
        if basis.desired is None:
            return None
        known = self._known.get(name)
        if known is not None and known[0] == basis:
            return known[1]
        found = release_reader.release(view, self._cluster, name, evidence=self._evidence)
        self._known[name] = (basis, found)
        return found

    def _check_not_frozen(self, freezes: tuple[FreezeRecord, ...], revision: ReleaseRevision) -> None:
        namespaces = namespaces_of(revision) if freezes else ()
        for freeze in freezes:
            if freezing.covers(freeze, revision.name, (self._cluster,), namespaces):
                raise Refused(
                    Code.FROZEN,
                    got=f"freeze {freeze.name} by {freeze.by}",
                    expected="no freeze on the release, this cluster or its namespaces",
                    todo="have the freeze removed; until then what runs is let alone",
                    release=revision.name,
                    freeze=freeze.name,
                )


@dataclass(frozen=True, slots=True)
class _Basis:
    """What decides, of a revision verified before, that it need not be fetched again."""

    desired: DesiredRecord | None
    scale: tuple[tuple[str, int, int], ...]


def _basis(view: View, cluster: str, name: str) -> _Basis:
    scale = release_reader.scale(view, cluster, name).value
    decided = tuple((s.object, s.replicas, s.time) for s in scale.objects) if scale else ()
    return _Basis(release_reader.desired(view, cluster, name).value, decided)
