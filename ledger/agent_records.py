"""What the ledger keeps about agents: frozen, written by ``ledger.records.write`` and read strictly here.

Source: docs/spec/agents.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from ledger import canonical, codec
from ledger.agent_actions import About, CodeNumber, Reason
from ledger.codec import Digest, Limits, Name, Positive
from ledger.limits import OBSERVATION_BYTES_MAX
from ledger.types import Did, sha256

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SuspensionRecord:
    """An agent that is cut off: by whom, why, and the incident that says so."""

    agent: Did
    name: Name
    by: Did
    code: CodeNumber
    evidence: Digest | None
    reason: Reason
    incident: Positive
    height: int
    time: int


@dataclass(frozen=True, slots=True)
class AnchorRecord:
    """An anchor of a node's audit log.

    Attributes:
        number: of the log's anchors, from 1.
        digest: stands for this anchor and all before it (``anchor_digest``).
    """

    node: Did
    log: Digest
    number: Positive
    count: Positive
    head: Digest
    digest: Digest
    height: int
    time: int


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """What an agent wanted people to know. ``text`` is untrusted.

    Attributes:
        number: of the agent's observations, from 1.
    """

    agent: Did
    number: Positive
    about: About
    release: Name | None
    text: Annotated[str, Limits(bytes_max=OBSERVATION_BYTES_MAX)]
    height: int
    time: int


FIRST_ANCHOR = "0" * 64
"""What goes before the first anchor of a log."""


def anchor_digest(before: str, anchor: tuple[int, str, int, int]) -> str:
    """Give the digest of an anchor: who knows all anchors of a log can prove it, and nobody can change one.

    Args:
        before: the digest of the anchor before, ``FIRST_ANCHOR`` where there is none.
        anchor: its count, head, height and time.
    """
    count, head, height, time = anchor
    said = canonical.dump_plain({"count": count, "head": head, "height": height, "time": time})
    return sha256(bytes.fromhex(before) + sha256(said)).hex()


def _reader(record: type[R]) -> Callable[[bytes], R]:
    return lambda content: codec.read(record, canonical.load_plain(content), record.__name__)


read_suspension = _reader(SuspensionRecord)
read_anchor = _reader(AnchorRecord)
read_observation = _reader(ObservationRecord)
