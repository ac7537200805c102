"""Sending reports home.

Owns the thread that signs and submits. Promises that applying never waits for reporting, that only the newest
finding of a release is sent (coalesced), no more often than ``report.pause_s`` allows and only when it is
news to the ledger, and that every report is signed by the cluster's node identity over a fresh nonce. Never
applies anything, never repeats what is proven, never tells metrics that have grown old while they waited.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from consensus import release_reader
from consensus.reader import VerifiedReader, View
from consensus.rpc import Rpc
from consensus.speaking import Speaker, sealed
from consensus.submit import Patience, submit
from k8s_bridge.metrics import AGE_S_MAX
from k8s_bridge.report import Finding, compose, headline, is_news, pause_s
from ledger import statekeys
from ledger.bodies import report_body
from ledger.envelope import AnySigningKey
from ledger.errors import ConclaveError
from ledger.records import DesiredState
from runtime.log import event
from runtime.retry import Backoff

NOT_AFTER_BLOCKS = 100
SUBMIT_TIMEOUT_S = 30.0
SUBMIT_POLL_S = 0.5
"""Nobody waits for the receipt of a report; hundreds of bridges tell of the same release at once."""
_LOG = logging.getLogger("bridge.report")


@dataclass(frozen=True, slots=True)
class Channel:
    """How one bridge speaks to the ledger: as the node identity ``did``, with a key of it.

    Which keys a did:conclave has, the ledger alone knows: it refuses a report under any other.
    """

    cluster: str
    rpc: Rpc
    reader: VerifiedReader
    did: str
    key: AnySigningKey


@dataclass(frozen=True, slots=True)
class Offer:
    """A finding, and since when its metrics wait."""

    finding: Finding
    measured_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was last told of a release, and when."""

    headline: tuple[int, str, str]
    at_s: float


class Reporter:
    """Sends the newest finding of each release, in the background."""

    def __init__(
        self,
        channel: Channel,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        may_tell: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may_tell = may_tell
        self._channel = channel
        self._monotonic = monotonic
        self._offers: dict[str, Offer] = {}
        self._sent: dict[str, _Sent] = {}
        self._not_before: dict[str, float] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._failures = 0
        self.last_error: ConclaveError | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def offer(self, finding: Finding) -> None:
        """Hand over a finding; of an older one that was not sent yet only the metrics are kept."""
        name = finding.changes.release
        with self._changed:
            offer, waiting = Offer(finding, self._monotonic()), self._offers.get(name)
            same = waiting is not None and waiting.finding.changes.revision == finding.changes.revision
            if waiting is not None and same and not finding.metrics:
                offer = replace(waiting, finding=replace(finding, metrics=waiting.finding.metrics))
            self._offers[name] = offer
            self._changed.notify()

    def forget(self) -> None:
        """Drop what was not sent yet: another bridge tells what happens now."""
        with self._changed:
            self._offers.clear()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop sending; a report that is under way is given ``timeout_s``."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        backoff = Backoff()
        while True:
            offer = self._next()
            if offer is None:
                return
            finding = offer.finding
            name = finding.changes.release
            try:
                self.send(finding)
                self._failures, self.last_error = 0, None
                self.told(finding)
            except ConclaveError as error:
                self._failures += 1
                self.last_error = error
                self._not_before[name] = self._monotonic() + backoff.delay_s(self._failures)
                event(_LOG, "report not sent", level=logging.WARNING, release=name, **error.to_json())
                with self._changed:
                    self._offers.setdefault(name, offer)

    def send(self, finding: Finding) -> bool:
        """Report a finding if it is news, and ours to tell; tells whether it was sent.

        Raises:
            ConclaveError: the ledger refused it, did not verify, or cannot be reached.
        """
        channel = self._channel
        view = channel.reader.at()
        view.ahead(_read_by_each(channel, finding.changes.release))
        if not _is_news(view, channel.cluster, finding):
            return False
        last = release_reader.report_sequence(view, channel.cluster).value
        # After the sequence was read: whoever tells more from here on takes it from us.
        if not self._may_tell():
            return False
        report = compose(finding, channel.cluster, last + 1)
        speaker = Speaker(channel.did, (channel.key,), NOT_AFTER_BLOCKS)
        envelope = sealed(view, speaker, report_body(report))
        proof = submit(
            channel.rpc, channel.reader, envelope, patience=Patience(SUBMIT_TIMEOUT_S, SUBMIT_POLL_S)
        )
        event(
            _LOG, "reported", release=report.release, revision=report.revision, sequence=report.sequence,
            outcome=report.outcome, health=report.health, height=proof.height,
        )  # fmt: skip
        return True

    def told(self, finding: Finding) -> None:
        """Take it that the ledger knows a finding: the next one of its release waits its time."""
        name = finding.changes.release
        self._sent[name] = _Sent(headline(finding), self._monotonic())
        self._not_before.pop(name, None)

    def due(self) -> Offer | None:
        """Take out a finding whose time has come, if there is one."""
        with self._changed:
            now, ready = self._monotonic(), self._soonest()
            if ready is None or self._due_s(ready) > now:
                return None
            return _without_old_metrics(self._offers.pop(ready), now)

    def _next(self) -> Offer | None:
        """Wait for a finding whose time has come; None when stopping."""
        with self._changed:
            while not self._stopping:
                offer = self.due()
                if offer is not None:
                    return offer
                ready = self._soonest()
                self._changed.wait(
                    None if ready is None else max(0.0, self._due_s(ready) - self._monotonic())
                )
            return None

    def _soonest(self) -> str | None:
        return min(self._offers, key=self._due_s, default=None)

    def _due_s(self, name: str) -> float:
        sent, not_before = self._sent.get(name), self._not_before.get(name, 0.0)
        if sent is None:
            return not_before
        return max(not_before, sent.at_s + pause_s(self._offers[name].finding, sent.headline))


def _without_old_metrics(offer: Offer, now_s: float) -> Offer:
    if now_s - offer.measured_s <= AGE_S_MAX:
        return offer
    return replace(offer, finding=replace(offer.finding, metrics=()))


def _read_by_each(channel: Channel, release: str) -> list[bytes]:
    """Give the keys that every report reads first."""
    cluster = channel.cluster
    told = [statekeys.report(cluster, release), statekeys.report_envelope(cluster, release)]
    return [*told, statekeys.report_sequence(cluster), statekeys.account(channel.did)]


def _is_news(view: View, cluster: str, finding: Finding) -> bool:
    """Whether the ledger does not know it; of a removal, whether it still waits for it."""
    name = finding.changes.release
    if finding.changes.removal:
        wanted = release_reader.desired(view, cluster, name).value
        return wanted is not None and wanted.state is DesiredState.DELETED
    return is_news(finding, release_reader.report(view, cluster, name).value)
