"""A node's answers about a state that no header proves yet.

Owns the asking for them and their keeping, for one height at a time. The state of a height can be asked for
as soon as its block is committed, and is proven by the next: who asks at once has the answers at hand when
the proof comes. Promises that nothing here is believed: an answer is worth something once a view has verified
it (``reader.View``), and until then only tells which keys to ask for next. Bounded by ``ANSWERS_MAX``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from consensus.answers import QueryAnswer
from consensus.sources import Batching, Rpc
from ledger.errors import Code, EnvironmentFault

STATE_PATH = "/state"
ANSWERS_MAX = 20_000
Attempt = Callable[[Callable[[Rpc], list[QueryAnswer]]], list[QueryAnswer]]


class Foresight:
    """What a node said of one height.

    Args:
        attempt: asks the node.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._height = 0
        self._answers: dict[bytes, QueryAnswer] = {}

    def of(self, height: int) -> dict[bytes, QueryAnswer]:
        """Give what is at hand of a height."""
        return self._answers if height == self._height else {}

    def same(self, known: Mapping[bytes, bytes | None], height: int) -> bool:
        """Tell whether the node says that these values are the same at ``height``.

        Raises:
            EnvironmentFault: the node does not answer.
        """
        if not known:
            return False
        self._ask(known, height)
        told = self.of(height)
        return all(key in told and told[key].value == (value or b"") for key, value in known.items())

    def getter(self, height: int) -> Getter:
        """Give what reads that state as the node tells it."""
        return Getter(lambda keys: self._ask(keys, height), lambda: self.of(height))

    def _ask(self, keys: Iterable[bytes], height: int) -> None:
        if height != self._height:
            self._height, self._answers = height, {}
        missing = [key for key in dict.fromkeys(keys) if key not in self._answers]
        if missing and len(self._answers) + len(missing) <= ANSWERS_MAX:
            found = self._attempt(lambda rpc: _asked(rpc, missing, height))
            # What was refused is asked again: that state may not be committed yet.
            told = zip(missing, found, strict=False)
            self._answers |= {key: answer for key, answer in told if answer.code == 0}


class Getter:
    """Gives values as a node tells them; RPC_REFUSED for one it did not."""

    def __init__(
        self, ask: Callable[[Iterable[bytes]], None], told: Callable[[], Mapping[bytes, QueryAnswer]]
    ) -> None:
        self.ahead, self._told = ask, told

    def __call__(self, key: bytes) -> bytes | None:
        """Give a value, None where there is none."""
        if key not in self._told():
            self.ahead([key])
        answer = self._told().get(key)
        if answer is None:
            raise EnvironmentFault(Code.RPC_REFUSED, got="no answer", expected="a value of the state")
        return answer.value or None


def _asked(rpc: Rpc, keys: list[bytes], height: int) -> list[QueryAnswer]:
    # One by one it would cost more than it spares.
    return rpc.abci_queries(STATE_PATH, keys, height) if isinstance(rpc, Batching) else []
