"""What is judged, and the judgement: frozen words shared by every part of the guard.

Promises that a judgement says where and why, and repeats nothing of what was found suspect.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ledger.errors import Code, Refused
from ledger.types import Did, JsonObject


class Verdict(enum.StrEnum):
    """What becomes of a call or an answer."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool, as it came in, and what the server knows of its caller.

    Attributes:
        arguments: plain JSON, as the transport's strict parser gave it.
        argument_bytes: their size as received; what they measure here counts if it is more.
        open_proposals: the principal's open proposals on the ledger.
        objects: the objects that the call names, in any one spelling.
    """

    principal: Did
    tool: str
    arguments: JsonObject
    now_ns: int
    argument_bytes: int = 0
    open_proposals: int = 0
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code, its facts (where, how many, how much), what would pass and what to do."""

    code: Code
    facts: JsonObject = field(default_factory=dict)
    got: str = ""
    expected: str = ""
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons; of a refusal or a suspension the first is why."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()

    @property
    def passes(self) -> bool:
        """Tell whether the call may go on."""
        return self.verdict in (Verdict.ALLOW, Verdict.WARN)

    @property
    def code(self) -> Code:
        """Give the code of the first reason, OK without one."""
        return self.reasons[0].code if self.reasons else Code.OK

    def check(self) -> None:
        """Raise what a refusal or suspension says.

        Raises:
            Refused: with the code, facts and words of the first reason.
        """
        if not self.passes:
            why = self.reasons[0]
            raise Refused(why.code, got=why.got, expected=why.expected, todo=why.todo, **why.facts)


def reason_of(refusal: Refused) -> Reason:
    """Give a refusal as a reason."""
    return Reason(
        code=refusal.code,
        facts=dict(refusal.facts),
        got=refusal.got,
        expected=refusal.expected,
        todo=refusal.todo,
    )
