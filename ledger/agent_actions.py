"""What is said about agents, and by them: the bodies beside those of ``ledger.actions``.

Owns the strict reading of these bodies into frozen records. Whether an action is allowed now is judged
elsewhere. Source: docs/spec/agents.md.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, TypeVar

from ledger import codec
from ledger.codec import Digest, Limits, Name, Positive
from ledger.limits import OBSERVATION_BYTES_MAX, REASON_BYTES_MAX
from ledger.types import Did, JsonObject

A = TypeVar("A")
Reason = Annotated[str, Limits(bytes_max=REASON_BYTES_MAX, empty=True)]
CodeNumber = Annotated[int | None, Limits(at_least=1, at_most=9999)]
"""A refusal code, perhaps of a later version; None where no machine decided."""
_FRAME = frozenset({"apiVersion", "kind"})


@dataclass(frozen=True, slots=True)
class Suspension:
    """The end of all that an agent may say, until the quorum lifts it.

    Attributes:
        code: why a guard cut it off.
        evidence: SHA-256 of the record in the guard's audit log.
        reason: for people.
    """

    agent: Did
    code: CodeNumber = None
    evidence: Digest | None = None
    reason: Reason = ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far an audit log has come: so many records, whose chain ends in ``head``.

    Attributes:
        log: names the log, for ever.
    """

    log: Digest
    count: Positive
    head: Digest


class About(enum.StrEnum):
    """What an observation is."""

    OBSERVATION = "observation"
    PAUSE_REQUESTED = "pause-requested"


@dataclass(frozen=True, slots=True)
class Observation:
    """What an agent wants people to know. ``text`` is untrusted for ever, whoever reads it."""

    about: About
    text: Annotated[str, Limits(bytes_max=OBSERVATION_BYTES_MAX)]
    release: Name | None = None


def read_body(record: type[A], value: JsonObject) -> A:
    """Read what a body says besides what kind of body it is.

    Raises:
        Refused: FIELD_MISSING, FIELD_UNKNOWN, FIELD_INVALID or LIMIT_EXCEEDED with the field's path.
    """
    return codec.read(record, {name: v for name, v in value.items() if name not in _FRAME}, "body")
