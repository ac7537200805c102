"""What stands around every call: the seam for the guard, budgets and the audit.

Owns the two moments of a call. Promises that nothing is read before ``before`` has passed and nothing is
handed out that ``after`` has not seen. A chain may stand around another one: it calls the inner one's methods
and gives on what they give.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Protocol

from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, proven: a DID of the ledger, and the key of it by which it is known."""

    did: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Call:
    """Something a client asks for.

    Attributes:
        kind: ``tool``, ``resource``, ``prompt``, ``completion`` or ``list``.
        name: the tool's, the prompt's, the argument's that is completed, the resource's URI; of a list what
            is listed: ``tools``, ``resources``, ``templates`` or ``prompts``. Untrusted.
        arguments: as they came, unread and untrusted.
        principal: the DID of who asks, proven; None where nobody is known.
        key_id: the key of the principal by which it is known.
        id: names the call in the audit; 32 hex digits.
    """

    kind: str
    name: str
    arguments: object
    principal: str | None = None
    key_id: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)


@dataclass(frozen=True, slots=True)
class Passed:
    """What is handed out of a call, and warnings that go beside it (``_meta``)."""

    content: JsonObject
    warnings: tuple[JsonObject, ...] = ()


class Chain(Protocol):
    """A judge of calls. Called from one thread at a time."""

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        """Let a call pass; give the warnings about it.

        Raises:
            ConclaveError: it does not pass; nothing of it is done.
        """
        ...

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        """Give what is handed out of a result, or of the error ``{"error": …}`` it ended in.

        Args:
            call: as it was let pass.
            result: what would be handed out.
            shown: the objects of the ledger that it shows, however little of them was asked for.

        Raises:
            ConclaveError: nothing of it is.
        """
        ...

    def shows(self, call: Call) -> bool:
        """Tell whether a list for this caller names what the call asks for; counts and remembers nothing.

        A tool with arguments: whether its caller may give it these.
        """
        ...


class Unguarded:
    """Lets every call pass as it is: for tests, and as a base for chains that change little."""

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        """Let it pass."""
        del call
        return ()

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        """Give the result as it is."""
        del call, shown
        return Passed(result)

    def shows(self, call: Call) -> bool:
        """Show everything."""
        del call
        return True
