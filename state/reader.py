"""How the state is read, and the pending changes of a block or a transaction over it.

Owns the read interface, the memory of what was read, and ``Overlay``, which nests: one for the block, one a
transaction inside it, kept or dropped as a whole. Promises that reading shows the pending changes and that
nothing below is touched until ``commit_into_parent``. Never touches disk, never hashes.
"""

from __future__ import annotations

from typing import Protocol

from state.limits import REMEMBERED_VALUE_BYTES_MAX, REMEMBERED_VALUES_MAX, check_key, check_value


class StateReader(Protocol):
    """A state that can be read: the committed one, an older one, or one with pending changes."""

    def get(self, key: bytes) -> bytes | None:
        """Give the value of ``key``, or None where it is absent."""
        ...


class VersionedReader(StateReader, Protocol):
    """A committed state: it stays the same until ``committed`` is another object."""

    @property
    def committed(self) -> object:
        """The newest version."""
        ...


class Remembered:
    """A committed state whose small values, once read, are not read from disk again. For one thread."""

    __slots__ = ("_source", "_values", "_version")

    def __init__(self, source: VersionedReader) -> None:
        self._source = source
        self._version = source.committed
        self._values: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Give the committed value of ``key``, or None."""
        version = self._source.committed
        if version is not self._version:
            self._values.clear()
            self._version = version
        try:
            return self._values[key]
        except KeyError:
            value = self._source.get(key)
        if value is None or len(value) <= REMEMBERED_VALUE_BYTES_MAX:
            if len(self._values) == REMEMBERED_VALUES_MAX:
                self._values.clear()
            self._values[key] = value
        return value


class Overlay:
    """Pending changes over a reader."""

    __slots__ = ("_changes", "_parent")

    def __init__(self, parent: StateReader) -> None:
        self._parent = parent
        self._changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Give the pending value of ``key``, else the parent's; None where it is absent or deleted."""
        try:
            return self._changes[key]
        except KeyError:
            return self._parent.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``.

        Raises:
            Refused: FIELD_INVALID or LIMIT_EXCEEDED: a key or value the state cannot hold.
        """
        check_key(key)
        check_value(key, value)
        self._changes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key``; no change where it is absent.

        Raises:
            Refused: FIELD_INVALID or LIMIT_EXCEEDED: a key the state cannot hold.
        """
        check_key(key)
        self._changes[key] = None

    def changes(self) -> dict[bytes, bytes | None]:
        """Give a copy of the pending changes, in key order: value, or None to delete."""
        return dict(sorted(self._changes.items()))

    def commit_into_parent(self) -> None:
        """Move the pending changes into the overlay below, as one.

        Raises:
            TypeError: the parent is no overlay: only ``state.store`` changes what is committed.
        """
        if not isinstance(self._parent, Overlay):
            raise TypeError("the committed state is changed by the store alone")
        self._parent._changes.update(self._changes)  # noqa: SLF001 - our own class
        self._changes.clear()

    def discard(self) -> None:
        """Drop the pending changes."""
        self._changes.clear()
