"""Sending reports home.

Owns the thread that signs and submits. Promises that applying never waits for reporting, that only the newest
finding of a release is sent (coalesced), only when it is news to the ledger, and that every report is signed
by the cluster's node identity over a fresh nonce. Never applies anything, never repeats what is proven.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from consensus import release_reader
from consensus.reader import VerifiedReader, View
from consensus.rpc import Rpc
from consensus.submit import Patience, submit
from k8s_bridge.report import Finding, compose, is_news
from ledger import account as accounts
from ledger import statekeys
from ledger.bodies import report_body
from ledger.envelope import AnySigningKey, seal
from ledger.errors import ConclaveError
from ledger.records import DesiredState
from runtime.log import event
from runtime.retry import Backoff

NOT_AFTER_BLOCKS = 100
INTERVAL_S = 1.0
"""Least time between two reports of one release; health may flap."""
SUBMIT_TIMEOUT_S = 30.0
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


class Reporter:
    """Sends the newest finding of each release, in the background."""

    def __init__(self, channel: Channel, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._monotonic = monotonic
        self._findings: dict[str, Finding] = {}
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
        """Hand over a finding; an older one of the same release that was not sent yet is dropped."""
        with self._changed:
            self._findings[finding.changes.release] = finding
            self._changed.notify()

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
            finding = self._next()
            if finding is None:
                return
            name = finding.changes.release
            try:
                self.send(finding)
                self._failures, self.last_error, delay = 0, None, INTERVAL_S
            except ConclaveError as error:
                self._failures += 1
                self.last_error, delay = error, backoff.delay_s(self._failures)
                event(_LOG, "report not sent", level=logging.WARNING, release=name, **error.to_json())
                with self._changed:
                    self._findings.setdefault(name, finding)
            self._not_before[name] = self._monotonic() + delay

    def send(self, finding: Finding) -> bool:
        """Report a finding if it is news; tells whether it was sent.

        Raises:
            ConclaveError: the ledger refused it, did not verify, or cannot be reached.
        """
        channel = self._channel
        view = channel.reader.at()
        if not _is_news(view, channel.cluster, finding):
            return False
        last = release_reader.report_sequence(view, channel.cluster).value
        report = compose(finding, channel.cluster, last + 1)
        envelope = seal(
            report_body(report),
            chain_id=view.chain_id,
            signer=channel.did,
            nonce=_next_nonce(view, channel.did),
            not_after_height=view.height + NOT_AFTER_BLOCKS,
            key=channel.key,
        )
        proof = submit(channel.rpc, channel.reader, envelope, patience=Patience(SUBMIT_TIMEOUT_S))
        event(
            _LOG, "reported", release=report.release, revision=report.revision, sequence=report.sequence,
            outcome=report.outcome, health=report.health, height=proof.height,
        )  # fmt: skip
        return True

    def _next(self) -> Finding | None:
        """Wait for a finding whose time has come; None when stopping."""
        with self._changed:
            while not self._stopping:
                now = self._monotonic()
                due = {name: self._not_before.get(name, now) for name in self._findings}
                ready = min(due, key=lambda name: due[name], default=None)
                if ready is not None and due[ready] <= now:
                    return self._findings.pop(ready)
                self._changed.wait(None if ready is None else due[ready] - now)
            return None


def _is_news(view: View, cluster: str, finding: Finding) -> bool:
    """Whether the ledger does not know it; of a removal, whether it still waits for it."""
    name = finding.changes.release
    if finding.changes.removal:
        wanted = release_reader.desired(view, cluster, name).value
        return wanted is not None and wanted.state is DesiredState.DELETED
    return is_news(finding, release_reader.report(view, cluster, name).value)


def _next_nonce(view: View, did: str) -> int:
    return accounts.read(view.get(statekeys.account(did)).value).highest + 1
