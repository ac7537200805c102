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
    """What a subject is; what it may ever do follows from it, whatever its roles."""

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
    FREEZE = "Freeze"
    REVOCATION = "Revocation"
    PAUSE = "Pause"
    RESUME = "Resume"
    ROTATION = "Rotation"
    RECOVERY = "Recovery"
    DEACTIVATION = "Deactivation"
    SUSPENSION = "Suspension"
    ANCHOR = "Anchor"
    OBSERVATION = "Observation"


class ProposalState(enum.StrEnum):
    """Where a proposal stands.

    ``approved`` waits for its delay or for a freeze to end; ``final`` was executed by the machine;
    ``failed`` was approved and met a rule when its delay was over. The ledger writes no ``expired``: it
    follows from the height (``ledger.records.state_at``).
    """

    OPEN = "open"
    APPROVED = "approved"
    FINAL = "final"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"


def sha256(content: bytes) -> bytes:
    """Give the 32-byte SHA-256 digest of ``content``."""
    return hashlib.sha256(content).digest()
