"""What stands around every call: the seam for the guard, budgets and the audit.

Owns the two moments of a call. Promises that nothing is read before ``before`` has passed and nothing is
handed out that ``after`` has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ledger.types import JsonObject


@dataclass(frozen=True, slots=True)
class Call:
    """Something a client asks for.

    Attributes:
        kind: ``tool``, ``resource``, ``prompt`` or ``completion``.
        name: the tool's, the prompt's, or the resource's URI; untrusted.
        arguments: as they came, unread and untrusted.
        principal: who asks, as its credential says; None where there is none.
    """

    kind: str
    name: str
    arguments: object
    principal: str | None = None


class Chain(Protocol):
    """A judge of calls. Called from one thread at a time."""

    def before(self, call: Call) -> None:
        """Let a call pass.

        Raises:
            ConclaveError: it does not pass; nothing of it is done.
        """
        ...

    def after(self, call: Call, result: JsonObject) -> JsonObject:
        """Give what is handed out of a result, or of the error ``{"error": …}`` it ended in.

        Raises:
            ConclaveError: nothing of it is.
        """
        ...


class Unguarded:
    """Lets every call pass as it is."""

    def before(self, call: Call) -> None:
        """Let it pass."""

    def after(self, call: Call, result: JsonObject) -> JsonObject:
        """Give the result as it is."""
        del call
        return result
