"""Which proofs and assertions were used: bounded, and what is forgotten is refused for its age by then.

Owns the memory. Promises that an id counts once for each key, that no key can fill the memory alone, and that
a full memory refuses rather than forgets. Its time is one that nobody sets: a clock set on would forget what
one set back brings back. Source: RFC 9449 §11.1; RFC 7523 §3 no. 7.
"""

from __future__ import annotations

from collections import Counter

from ledger.errors import Code, Refused
from mcp_server.auth.limits import REPLAYS_MAX, REPLAYS_PER_KEY_MAX


class Replays:
    """The ids used lately.

    Args:
        seconds: how long one could be used again, had it not been seen.
        ids_max: how many are kept.
        ids_per_key_max: how many of one key.
    """

    def __init__(
        self, seconds: int, ids_max: int = REPLAYS_MAX, ids_per_key_max: int = REPLAYS_PER_KEY_MAX
    ) -> None:
        self._seconds, self._ids_max, self._per_key_max = seconds, ids_max, ids_per_key_max
        self._until: dict[tuple[str, str], int] = {}
        self._count: Counter[str] = Counter()
        self._now_s = 0

    def use(self, key: str, jti: str, now_s: int) -> None:
        """Use an id of a key, which it can be once.

        Args:
            key: of the ledger.
            jti: the id.
            now_s: seconds of a clock that only goes forward.

        Raises:
            Refused: AUTH_REPLAYED; LIMIT_EXCEEDED where no room is left.
        """
        self._forget(now_s)
        if (key, jti) in self._until:
            raise Refused(
                Code.AUTH_REPLAYED,
                got="an id that was used before",
                expected="a new one",
                todo="make a new one for each request; if you did, somebody else has yours",
                field="jti",
            )
        if self._count[key] >= self._per_key_max or len(self._until) >= self._ids_max:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got="one request more",
                expected=f"at most {self._per_key_max} of a key in {self._seconds} s",
                todo="wait some seconds",
            )
        self._until[key, jti] = self._now_s + self._seconds
        self._count[key] += 1

    def _forget(self, now_s: int) -> None:
        self._now_s = max(self._now_s, now_s)
        while self._until:
            key, jti = next(iter(self._until))
            if self._until[key, jti] >= self._now_s:
                return
            del self._until[key, jti]
            self._count[key] -= 1
            if not self._count[key]:
                del self._count[key]
