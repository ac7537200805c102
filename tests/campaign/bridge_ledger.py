"""What the ledger of a bridge campaign says, read with proof by a reader that has its own root of trust.

Owns the three questions of the campaign's judgements: what the cluster shall have now, what every revision
was that ever became final, and what the ledger was told.
"""

from __future__ import annotations

from collections.abc import Mapping

from conclave.demo.stage import CLUSTER
from consensus import release_reader
from consensus.evidence import Evidence
from consensus.reader import VerifiedReader
from k8s_bridge.accounts import scope_account, user_of
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.objects import key_of
from ledger.records import DesiredState
from tests.campaign.audit import Signed
from tests.campaign.bridge_judge import Wish


class Ledger:
    """The ledger as the campaign's judges read it."""

    def __init__(self, reader: VerifiedReader) -> None:
        self._reader = reader
        self._evidence = Evidence(reader.chain_id)

    def wishes(self) -> dict[str, Wish]:
        """Give what the cluster shall have of each release."""
        view, found = self._reader.at(), {}
        for name in release_reader.all_releases(view).value:
            if release_reader.desired(view, CLUSTER, name).value is None:
                # It was deleted, and the cluster told that it is gone.
                found[name] = Wish(None, ())
                continue
            wanted = release_reader.release(view, CLUSTER, name, evidence=self._evidence).value
            gone = wanted.state is DesiredState.DELETED
            found[name] = Wish(wanted.revision, () if gone else wanted.manifests)
        return found

    def signed(self) -> Mapping[tuple[str, int], Signed]:
        """Give every revision, and the account that may write it."""
        view, found = self._reader.at(), {}
        for name in release_reader.all_releases(view).value:
            newest = release_reader.release_record(view, name).value.revision
            for number in range(1, newest + 1):
                known = self._evidence
                was = release_reader.release(view, CLUSTER, name, evidence=known, revision=number).value
                manifests = {str(key_of(manifest)): manifest for manifest in was.manifests}
                found[name, number] = Signed(manifests, user_of(scope_account(was.namespace)))
        return found

    def untold(self) -> list[str]:
        """Name the releases of which the newest report is not that they are in place."""
        view, found = self._reader.at(), []
        for name, wish in self.wishes().items():
            told = release_reader.report(view, CLUSTER, name).value
            said = None if told is None else (told.revision, told.outcome)
            if wish.revision is not None and said != (wish.revision, ReleaseOutcome.APPLIED):
                found.append(f"{name} {wish.revision} is reported as {said}")
        return found
