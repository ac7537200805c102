"""The type that carries trust.

Owns ``Verified``: a value together with the height, time and chain that finalized it. Only
``consensus.reader`` holds the seal that makes one; everything downstream accepts nothing else.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class _Seal:
    """The capability to make ``Verified`` values; one instance, held by ``consensus.reader``."""

    __slots__ = ()


_SEAL = _Seal()


@dataclass(frozen=True, slots=True)
class Verified(Generic[T]):
    """A value proven against a verified header.

    Attributes:
        value: what was proven.
        height: the height whose state holds it (proved by the header of ``height + 1``).
        time_ns: the time of the proving header, nanoseconds since the Unix epoch.
        chain_id: the chain.

    Raises:
        TypeError: made anywhere but in ``consensus.reader``.
    """

    value: T
    height: int
    time_ns: int
    chain_id: str
    seal: InitVar[object]
    """Shown once and not kept: no value can lend it to another (``dataclasses.replace`` has none to give)."""

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a Verified value is made by consensus.reader alone")

    def age_ns(self, now_ns: int) -> int:
        """Give how long before ``now_ns`` the proving header was made, never negative."""
        return max(0, now_ns - self.time_ns)
