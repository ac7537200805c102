"""Small frozen types that every layer shares.

Owns the JSON alias, the subject and action vocabularies and digests.
Promises immutability; never performs I/O.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Any, NewType

Json = Any
"""A JSON value: dict, list, str, int, float, bool or None."""

JsonObject = dict[str, Any]
"""A JSON object."""

Did = NewType("Did", str)
"""A decentralised identifier, for example ``did:key:z6Mk…``."""

API_VERSION = "conclave.internal/v1"
"""The ``apiVersion`` of every object and action of this ledger."""


class SubjectKind(enum.StrEnum):
    """What a subject is; its verbs follow from it (``ledger.roles``)."""

    HUMAN = "human"
    AGENT = "agent"
    NODE = "node"
    ORGANISATION = "organisation"


class ActionKind(enum.StrEnum):
    """The kinds of envelope body."""

    PROPOSAL = "Proposal"
    APPROVAL = "Approval"
    REJECTION = "Rejection"
    REPORT = "Report"


class ProposalState(enum.StrEnum):
    """Where a proposal stands. ``final`` means approved and executed by the machine.

    The ledger writes no ``expired``: it follows from the height (``ledger.records.state_at``).
    """

    OPEN = "open"
    FINAL = "final"
    REJECTED = "rejected"
    EXPIRED = "expired"


def sha256(content: bytes) -> bytes:
    """Give the 32-byte SHA-256 digest of ``content``."""
    return hashlib.sha256(content).digest()
