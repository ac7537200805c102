"""What the API server refused for good, so that it is not asked the same again.

Owns the memory of refusals that the same request would meet again. Promises that an object is asked about
anew as soon as its manifest or anything of it but its status changes, and after ``ASK_AGAIN_S`` whatever
happened, for what refused it may be elsewhere: a schema, a policy. Never remembers what may pass by itself.

Source: kubernetes notes, trap 4 (an HTTP 500 can be for ever).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from k8s_bridge.drift import Change, compare
from k8s_bridge.objects import ObjectKey
from k8s_bridge.objects import field as field_at
from ledger.errors import ConclaveError
from ledger.types import JsonObject

ASK_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, of which object as it then was, and when."""

    manifest: JsonObject
    metadata: JsonObject | None
    fault: ConclaveError
    at_s: float


def lasting(fault: ConclaveError | None) -> bool:
    """Whether the same request would be refused again."""
    return fault is not None and fault.facts.get("permanent") is True


TROUBLE = frozenset({401, 429, 500, 502, 503, 504})


def is_trouble(fault: ConclaveError | None) -> bool:
    """Whether the API server, and not the object, is what failed: credentials, overload, its etcd."""
    return fault is not None and fault.facts.get("status") in TROUBLE and not lasting(fault)


@dataclass(slots=True)
class GivenUp:
    """The lasting refusals of one release's objects."""

    refusals: dict[ObjectKey, Refusal] = field(default_factory=dict)
    now_s: float = 0.0

    def begin(self, keys: Collection[ObjectKey], now_s: float) -> None:
        """Begin an attempt: forget what is no longer wanted and what is old."""
        self.now_s = now_s
        self.refusals = {
            key: refusal
            for key, refusal in self.refusals.items()
            if key in keys and 0 <= now_s - refusal.at_s < ASK_AGAIN_S
        }

    def remember(
        self, key: ObjectKey, manifest: JsonObject, live: JsonObject | None, fault: ConclaveError | None
    ) -> None:
        """Take the outcome of one request; one that was not refused for good is forgotten."""
        known = self.refusals.get(key)
        if fault is None or not lasting(fault):
            self.refusals.pop(key, None)
        elif known is None or known.fault is not fault or known.manifest != manifest:
            self.refusals[key] = Refusal(manifest, field_at(live, "metadata"), fault, self.now_s)

    def of(self, key: ObjectKey, manifest: JsonObject, live: JsonObject | None) -> ConclaveError | None:
        """Give why asking for this would be in vain; None when it may not be."""
        known = self.refusals.get(key)
        if known is None or known.manifest != manifest:
            return None
        change = compare(known.metadata, field_at(live, "metadata"))
        return None if change is Change.DRIFT else known.fault
