"""Whether the API server holds our admission policy, as far as it tells.

Owns one question: has the policy come, gone or changed since the last look? Promises an answer whatever the
API server says, and never the claim that a policy bites: one in the API takes about a second to, and one in
files cannot be seen. Never writes a policy.

Source: kubernetes notes, trap 9.
"""

from __future__ import annotations

import logging

from k8s_bridge.accounts import GOVERNED_POLICY
from k8s_bridge.cluster import Cluster
from k8s_bridge.objects import ObjectKey, field, uid_of
from ledger.errors import EnvironmentFault
from runtime.log import event

POLICY = ObjectKey("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", GOVERNED_POLICY)
SETTLE_S = 2.0
"""After a policy came or changed, what was written meanwhile is looked for this much later."""
_LOG = logging.getLogger("bridge")


class Guard:
    """Looks at the policy in the API of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: tuple[str, object] | None = None

    @property
    def present(self) -> bool:
        """Whether the policy was there at the last look."""
        return self._seen is not None

    def changed(self) -> bool:
        """Look; tell whether the policy is there and was not, or not like this, at the last look."""
        try:
            live = self._cluster.get(POLICY)
        except EnvironmentFault:
            return False
        found = (uid_of(live), field(live, "metadata", "generation")) if live else None
        before, self._seen = self._seen, found
        if found == before:
            return False
        if found is None:
            event(_LOG, "admission policy gone", level=logging.WARNING, policy=GOVERNED_POLICY)
            return False
        event(_LOG, "admission policy found", policy=GOVERNED_POLICY)
        return True
