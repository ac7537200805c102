"""What the verified ledger wants of this cluster.

Owns the reading of what one cluster shall have at the newest provable height. Promises that everything it
gives was proven by ``consensus.reader``, that a release which does not verify or is frozen hides none of the
others, that a revision already verified is not fetched again, and that a state of the same root is not read
again. A node that says that nothing changed is believed for ``REST_S`` at most: as long as it could keep back
a block without being asked why. Never falls back to anything unproven or stale.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from consensus import release_reader
from consensus.answers import NodeStatus
from consensus.operators import Evidence
from consensus.reader import VerifiedReader, View, check_fresh
from consensus.verified import Verified
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.desired import namespaces_of
from ledger import freezing, statekeys
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.records import DesiredRecord, FreezeRecord
from ledger.release import ReleaseRevision

REST_S = 15.0
"""A quarter of the staleness limit: a header younger than that is at hand while nothing changes."""

_USUAL = (b"identity", b"key/", b"object-version/", b"constitution", b"parameters")
_USUAL_MAX = 64
"""Keys whose like every verification reads: those of the last ones are asked together at the next."""
_LEFT_MAX = 8
"""Revisions, newest first, of which a freeze of their namespaces still counts where none was told applied."""


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
        monotonic_s: seconds of a clock that never goes back.
    """

    def __init__(
        self, reader: VerifiedReader, cluster: str, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic_s = monotonic_s
        self._last: _Look | None = None
        self._reader = reader
        self._cluster = cluster
        self._evidence = Evidence(reader.chain_id)
        self._known: dict[str, tuple[_Basis, Verified[ReleaseRevision]]] = {}
        self._usual: tuple[bytes, ...] = ()
        self._applied: dict[str, int] = {}
        self._read_always = (
            statekeys.FREEZES,
            statekeys.ledger_object("Cluster", cluster),
            statekeys.cluster_releases(cluster),
            statekeys.desired(cluster, ""),
            statekeys.scale(cluster, ""),
        )
        self._height = self._rehearsed = 0

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
        newest, began_s = self._reader.newest(), self._monotonic_s()
        found = self._look(newest, began_s)
        if found is None and newest.has_transactions and newest.height > self._rehearsed:
            self._rehearse(newest.height)
        return found

    def _look(self, newest: NodeStatus, began_s: float) -> Wanted | None:
        if self._height and (newest.height <= self._height + 1 or self._rests(newest, began_s)):
            return None
        view = self._reader.at_newest(newest.height)
        check_fresh(view)
        if self._last is not None and self._last.app_hash == view.app_hash:
            basis = self._last.basis
            wanted = replace(self._last.wanted, height=view.height, time_ns=view.time_ns)
        else:
            wanted = self._read(view)
            basis = view.proven(key for key in view.keys_read if key.startswith(self._read_always))
        # What was refused is asked again: another node may prove what this one did not.
        proven = all(error.code is Code.FROZEN for error in wanted.refused.values())
        self._last = _Look(view.app_hash, view.app_hash, basis, wanted, began_s) if proven else None
        self._height = view.height
        return wanted

    def _rests(self, newest: NodeStatus, now_s: float) -> bool:
        """Whether the node says that nothing changed for this cluster, and it was looked at not long ago."""
        last = self._last
        if last is None or now_s - last.at_s >= REST_S:
            return False
        if newest.app_hash != last.said_hash:
            if not self._reader.still(last.basis, newest.height - 1):
                return False
            self._last = replace(last, said_hash=newest.app_hash)
        return True

    def _rehearse(self, height: int) -> None:
        """Ask for the state of a block that nothing proves yet, if the node says that it changed.

        When the next block proves it, the answers are at hand. Nothing else is made of them.
        """
        self._rehearsed = height
        if self._last is None or self._reader.still(self._last.basis, height):
            return
        known = {name: basis.desired for name, (basis, _) in self._known.items()}
        evidence = self._evidence.copy()
        self._reader.rehearse(
            height,
            lambda get: release_reader.rehearse(get, self._cluster, known, self._usual, evidence),
        )

    def _read(self, view: View) -> Wanted:
        releases: dict[str, Verified[ReleaseRevision]] = {}
        refused: dict[str, ConclaveError] = {}
        view.ahead(self._always())
        frozen = release_reader.freezes(view).value
        names = release_reader.releases(view, self._cluster).value
        view.ahead(self._of_new([name for name in names if name not in self._known]))
        if frozen:
            told = (statekeys.report, statekeys.report_envelope)
            new = [name for name in names if name not in self._applied]
            view.ahead([key(self._cluster, name) for name in new for key in told])
        for name in names:
            try:
                found = self._release(view, name)
                if found is not None:
                    self._check_not_frozen(view, frozen, found.value)
                    releases[name] = found
            except EnvironmentFault:
                raise
            except ConclaveError as error:
                refused[name] = error
        self._known = {name: known for name, known in self._known.items() if name in names}
        self._applied = {name: number for name, number in self._applied.items() if name in names}
        return Wanted(view.height, view.time_ns, releases, refused)

    def _release(self, view: View, name: str) -> Verified[ReleaseRevision] | None:
        """Give what the cluster shall have of a release; None before the rollout has reached it."""
        desired = release_reader.desired(view, self._cluster, name).value
        if desired is None:
            return None
        known = self._known.get(name)
        if known is not None and known[0] == _Basis(desired, self._decided(view, known[1].value)):
            return known[1]
        view.ahead([statekeys.release(name), statekeys.revision(name, desired.revision), *self._usual])
        before = frozenset(view.keys_read)
        found = release_reader.release(view, self._cluster, name, evidence=self._evidence)
        asked = [key for key in view.keys_read if key not in before and key.startswith(_USUAL)]
        self._usual = tuple(dict.fromkeys([*asked, *self._usual]))[:_USUAL_MAX]
        self._known[name] = (_Basis(desired, self._decided(view, found.value)), found)
        return found

    def _always(self) -> Iterator[bytes]:
        """Give the keys that every look reads."""
        yield from (statekeys.FREEZES, statekeys.ledger_object("Cluster", self._cluster))
        yield statekeys.cluster_releases(self._cluster)
        for name, (_, found) in self._known.items():
            yield statekeys.desired(self._cluster, name)
            if found.value.autoscale:
                yield statekeys.scale(self._cluster, name)

    def _of_new(self, names: list[str]) -> Iterator[bytes]:
        """Give the keys that releases are likely to need that were not seen before."""
        for name in names:
            yield from (statekeys.desired(self._cluster, name), statekeys.release(name))
            yield statekeys.revision(name, 1)
        yield from self._usual if names else ()

    def _decided(self, view: View, revision: ReleaseRevision) -> tuple[tuple[str, int, int], ...]:
        """Give the replicas that the machine decided; of a release without a rule it decides none."""
        if not revision.autoscale:
            return ()
        scale = release_reader.scale(view, self._cluster, revision.name).value
        return tuple((s.object, s.replicas, s.time) for s in scale.objects) if scale else ()

    def _check_not_frozen(
        self, view: View, freezes: tuple[FreezeRecord, ...], revision: ReleaseRevision
    ) -> None:
        near = [f for f in freezes if freezing.covers(f, revision.name, (self._cluster,), f.namespaces)]
        if not near:
            return
        # What was moved before the freeze came may still be there to be taken away.
        namespaces = namespaces_of(revision) | self._left(view, revision)
        for freeze in near:
            if freezing.covers(freeze, revision.name, (self._cluster,), namespaces):
                raise Refused(
                    Code.FROZEN,
                    got=f"freeze {freeze.name} by {freeze.by}",
                    expected="no freeze on the release, this cluster or its namespaces",
                    todo="have the freeze removed; until then what runs is let alone",
                    release=revision.name,
                    freeze=freeze.name,
                )

    def _left(self, view: View, revision: ReleaseRevision) -> frozenset[str]:
        """Give the namespaces of the revisions that this cluster had, until it told that it has this one."""
        name, number = revision.name, revision.revision
        if self._applied.get(name) == number:
            return frozenset()
        told = release_reader.report(view, self._cluster, name).value
        if told is not None and (told.revision, told.outcome) == (number, ReleaseOutcome.APPLIED.value):
            self._applied[name] = number
            return frozenset()
        first = told.revision if told is not None and told.revision < number else number - 1
        found: set[str] = set()
        for before in range(max(1, first, number - _LEFT_MAX), number):
            with contextlib.suppress(Refused):  # a revision that was not for this cluster
                found |= namespaces_of(
                    release_reader.release(
                        view, self._cluster, name, evidence=self._evidence, revision=before
                    ).value
                )
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was read of the state of one root, and when a header of it was last verified.

    ``said_hash`` is the root of a later state, of which the node says that ``basis`` is the same in it.
    """

    app_hash: bytes
    said_hash: bytes
    basis: Mapping[bytes, bytes | None]
    wanted: Wanted
    at_s: float


@dataclass(frozen=True, slots=True)
class _Basis:
    """What decides, of a revision verified before, that it need not be fetched again."""

    desired: DesiredRecord
    scale: tuple[tuple[str, int, int], ...]
