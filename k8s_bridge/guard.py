"""Whether the API server holds our admission policies, as far as it tells.

Owns the look at every policy and binding that ``conclave bridge manifests`` prints, and what is said of them.
Promises an answer whatever the API server says, that what is absent or not as printed is said aloud when it
becomes so, and never the claim that a policy bites: one in the API takes about a second to, and those in
files cannot be seen. Where none was ever seen nothing is missed. Never writes a policy.

Source: kubernetes notes, trap 9.
"""

from __future__ import annotations

import logging

from k8s_bridge.admission_check import ABSENT, CHANGED, KEYS, is_ours, let_through, uncovered
from k8s_bridge.cluster import Cluster
from k8s_bridge.grants import KUBE_NAMESPACES
from k8s_bridge.objects import ObjectKey, field, uid_of
from ledger.errors import Code, ConclaveError, EnvironmentFault
from ledger.types import JsonObject
from runtime.log import event

POLICY = KEYS[0]
"""The policy of governed namespaces; printed only where a release has one."""
SETTLE_S = 2.0
"""After a policy came or changed, what was written meanwhile is looked for this much later."""
_LOG = logging.getLogger("bridge")
_Seen = dict[ObjectKey, tuple[str, object]]


class Guard:
    """Looks at the policies and bindings in the API of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: _Seen = {}
        self._ever = False
        self._wrong: dict[str, str] = {}
        self._users: list[str] = []
        self._error: ConclaveError | None = None

    @property
    def present(self) -> bool:
        """Whether any of them was there at the last look."""
        return bool(self._seen)

    def account(self) -> JsonObject:
        """Say how the policies are, for ``bridge-status.json``."""
        return {
            "seen": self._ever,
            "wrong": dict(self._wrong),
            "letThrough": list(self._users),
            "error": None if self._error is None else self._error.to_json(),
        }

    def changed(self, scopes: frozenset[str] = frozenset()) -> bool:
        """Look; tell whether something is there that was not, or not like this, at the last look.

        Args:
            scopes: the namespaces of the releases, which the policies must cover.
        """
        scopes -= KUBE_NAMESPACES
        try:
            live = {key: self._get(key) for key in KEYS}
        except EnvironmentFault as fault:
            if self._error is None or self._error.code is not fault.code:
                event(_LOG, "admission not read", level=logging.WARNING, **fault.to_json())
            self._error = fault
            return False
        self._error = None
        found: _Seen = {
            key: (uid_of(item), field(item, "metadata", "generation"))
            for key, item in live.items()
            if item is not None
        }
        before, self._seen = self._seen, found
        self._ever = self._ever or bool(found)
        if self._ever:
            self._users = let_through(live)
            self._tell(_wrong(live, scopes))
        return any(before.get(key) != mark for key, mark in found.items())

    def _get(self, key: ObjectKey) -> JsonObject | None:
        try:
            return self._cluster.get(key)
        except EnvironmentFault as fault:
            # An API server older than these kinds has none of them.
            if fault.code is Code.OBJECT_KIND_UNKNOWN:
                return None
            raise

    def _tell(self, wrong: dict[str, str]) -> None:
        known, self._wrong = self._wrong, wrong
        if wrong and wrong != known:
            event(_LOG, "admission not as printed", level=logging.WARNING, wrong=wrong)
        elif known and not wrong:
            event(_LOG, "admission as printed again", letThrough=self._users)


def _wrong(live: dict[ObjectKey, JsonObject | None], scopes: frozenset[str]) -> dict[str, str]:
    found = {}
    for key, item in live.items():
        # Without a namespace to govern, this pair is not printed.
        if item is None and (key.name != POLICY.name or scopes):
            found[f"{key.kind}/{key.name}"] = ABSENT
        elif item is not None and not is_ours(key, item):
            found[f"{key.kind}/{key.name}"] = CHANGED
    for scope in uncovered(live, scopes):
        found[f"Namespace/{scope}"] = "not covered"
    return found
