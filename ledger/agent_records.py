"""What the ledger keeps about agents: frozen, written by ``ledger.records.write`` and read strictly here.

Source: docs/spec/agents.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ledger import canonical, codec
from ledger.agent_actions import CodeNumber, Reason
from ledger.codec import Digest, Name, Positive
from ledger.types import Did

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


def _reader(record: type[R]) -> Callable[[bytes], R]:
    return lambda content: codec.read(record, canonical.load_plain(content), record.__name__)


read_suspension = _reader(SuspensionRecord)
