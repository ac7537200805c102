"""The ABCI socket framing: an unsigned-varint length, then the message.

Owns the incremental decoder. Promises: any split of the same bytes gives the same messages; a length is
parsed once; buffering is linear; a message over the limit is refused before it is buffered. It never looks
into a message. Source: CometBFT abci/types/messages.go, libs/protoio.
"""

from __future__ import annotations

from abci_app.abci import uvarint
from ledger.errors import Code, Refused

_LENGTH_BYTES_MAX = 10
"""A uint64 varint, Go's binary.MaxVarintLen64."""
_UNKNOWN = -1


class FrameDecoder:
    """Cuts a byte stream into messages of at most ``limit`` bytes."""

    __slots__ = ("_buffer", "_limit", "_need", "_start")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._start = 0
        self._need = _UNKNOWN

    def feed(self, chunk: bytes) -> None:
        """Append received bytes."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += chunk

    @property
    def buffered(self) -> int:
        """How many received bytes are not yet given out."""
        return len(self._buffer) - self._start

    def take(self) -> bytes | None:
        """Give the next whole message, None when more bytes are needed.

        Raises:
            Refused: ABCI_FRAME_INVALID (length over 10 bytes), LIMIT_EXCEEDED (longer than the limit).
        """
        if self._need == _UNKNOWN and not self._read_length():
            return None
        end = self._start + self._need
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            message = bytes(view[self._start : end])
        self._start = end
        self._need = _UNKNOWN
        if end == len(self._buffer):
            self._buffer = bytearray()
            self._start = 0
        return message

    def _read_length(self) -> bool:
        length = shift = 0
        position = self._start
        for octet in self._buffer[position : position + _LENGTH_BYTES_MAX]:
            position += 1
            length |= (octet & 0x7F) << shift
            if octet < 0x80:
                break
            shift += 7
        else:
            if position - self._start < _LENGTH_BYTES_MAX:
                return False
            raise Refused(
                Code.ABCI_FRAME_INVALID,
                got=bytes(self._buffer[self._start : position]),
                expected=f"a length of at most {_LENGTH_BYTES_MAX} bytes",
            )
        if length > self._limit:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=f"an ABCI message of {length} bytes",
                expected=f"at most {self._limit} bytes",
                todo="lower block.max_bytes or the genesis app_state",
            )
        self._start = position
        self._need = length
        return True


def frame(message: bytes) -> bytes:
    """Give ``message`` as it goes on the socket."""
    return uvarint(len(message)) + message
