"""Strict reading of one JSON object of CometBFT's RPC.

Owns the translation of scalar spellings (int64 as strings, upper-hex hashes, base64) and promises that
any JSON value at all gives either the typed value or ``VerificationFailed`` with the field's name. Never
trusts a length: every text is measured before it is decoded.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from consensus.light.timestamp import parse_time
from ledger.errors import Code, EnvironmentFault, VerificationFailed

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_UNSIGNED = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)
_INT64_MIN = -(2**63)
_SHOWN_BITS_MAX = 256
"""Python prints no integer of more than some thousand digits."""

Fault = type[VerificationFailed] | type[EnvironmentFault]


class Fields:
    """One JSON object being read.

    Args:
        value: the JSON value; refused unless an object.
        where: its name in error facts, for example ``header``.
        lax: also take integers for integer strings and ignore unknown fields: the conformance door's and test
            vectors' spelling, never a live peer's.
        code: the code of refusals.
        fault: the family of refusals: what a peer claims, or a broken answer of our surroundings.
    """

    __slots__ = ("_code", "_fault", "_lax", "_object", "_where")

    def __init__(
        self,
        value: Any,
        where: str,
        *,
        lax: bool = False,
        code: Code = Code.HEADER_MALFORMED,
        fault: Fault = VerificationFailed,
    ) -> None:
        self._where, self._lax, self._code, self._fault = where, lax, code, fault
        if not isinstance(value, dict):
            raise self.malformed("", value, "an object")
        self._object: dict[str, Any] = value

    def malformed(self, name: str, got: object, expected: str) -> VerificationFailed | EnvironmentFault:
        """Make the refusal for field ``name``."""
        shown = got if isinstance(got, str | int) else type(got).__name__
        if isinstance(shown, int) and shown.bit_length() > _SHOWN_BITS_MAX:
            shown = f"an integer of {shown.bit_length()} bits"
        return self._fault(self._code, got=str(shown)[:80], expected=expected, field=self.named(name))

    def named(self, name: str) -> str:
        """Give a field's full name."""
        return f"{self._where}.{name}" if name else self._where

    def only(self, *names: str) -> None:
        """Refuse fields other than ``names``, unless reading laxly."""
        if self._lax:
            return
        for name in self._object:
            if name not in names:
                raise self.malformed(name[:40], "unknown field", "a field CometBFT writes")

    def inner(self, name: str) -> Fields:
        """Read an object inside this one."""
        return Fields(
            self.get(name), f"{self._where}.{name}", lax=self._lax, code=self._code, fault=self._fault
        )

    def flag(self, name: str) -> bool:
        """Read true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise self.malformed(name, value, "true or false")
        return value

    def get(self, name: str) -> Any:
        """Give the raw value, None where missing or null."""
        return self._object.get(name)

    def text(self, name: str, bytes_max: int) -> str:
        """Read a UTF-8 string of at most ``bytes_max`` bytes."""
        value = self.get(name)
        if not isinstance(value, str) or len(value) > bytes_max:
            raise self.malformed(name, value, f"a string of at most {bytes_max} bytes")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise self.malformed(name, "lone surrogate", "valid Unicode") from None
        if size > bytes_max:
            raise self.malformed(name, size, f"a string of at most {bytes_max} bytes")
        return value

    def int64(self, name: str) -> int:
        """Read an int64 spelled as a decimal string."""
        number = self._decimal(name, _INTEGER)
        if not _INT64_MIN <= number < 2**63:
            raise self.malformed(name, number, "an int64")
        return number

    def uint64(self, name: str) -> int:
        """Read a uint64 spelled as a decimal string; a missing one is 0, as in proto3."""
        if self.get(name) is None:
            return 0
        number = self._decimal(name, _UNSIGNED)
        if number >= 2**64:
            raise self.malformed(name, number, "a uint64")
        return number

    def _decimal(self, name: str, form: re.Pattern[str]) -> int:
        value = self.get(name)
        if self._lax and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
            value = str(value)
        if not isinstance(value, str) or len(value) > 20 or not form.fullmatch(value):
            raise self.malformed(name, value, "an integer as a decimal string")
        return int(value)

    def small(self, name: str, maximum: int) -> int:
        """Read a JSON integer within 0 … ``maximum``."""
        value = self.get(name)
        if self._lax and isinstance(value, str):
            value = self._decimal(name, _UNSIGNED)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
            raise self.malformed(name, value, f"an integer within 0 … {maximum}")
        return value

    def hex(self, name: str, sizes: tuple[int, ...]) -> bytes:
        """Read hexadecimal bytes whose length is one of ``sizes``; missing is empty."""
        raw = self.hex_upto(name, max(sizes))
        if len(raw) not in sizes:
            raise self.malformed(name, f"{len(raw)} bytes", f"{' or '.join(map(str, sizes))} bytes")
        return raw

    def hex_upto(self, name: str, bytes_max: int) -> bytes:
        """Read at most ``bytes_max`` hexadecimal bytes; missing is empty."""
        value = self.get(name)
        if value is None:
            return b""
        if not isinstance(value, str) or len(value) > 2 * bytes_max or not _HEX.fullmatch(value):
            raise self.malformed(name, value, f"at most {bytes_max} bytes in hexadecimal")
        return bytes.fromhex(value)

    def base64(self, name: str, bytes_max: int) -> bytes:
        """Read at most ``bytes_max`` bytes in their one base64 spelling; missing is empty.

        Read laxly, the bits behind the last byte may be set, as Go takes them.
        """
        value = self.get(name)
        if value is None:
            return b""
        if not isinstance(value, str) or len(value) > 4 * (bytes_max // 3 + 1):
            raise self.malformed(name, value, f"at most {bytes_max} bytes in base64")
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise self.malformed(name, value, "base64") from None
        if len(raw) > bytes_max:
            raise self.malformed(name, f"{len(raw)} bytes", f"at most {bytes_max} bytes")
        spelled = base64.b64encode(raw).decode()
        if len(spelled) != len(value) or (spelled != value and not self._lax):
            raise self.malformed(name, value, "base64 as it is written")
        return raw

    def time(self, name: str) -> int:
        """Read an RFC 3339 UTC time into nanoseconds."""
        value = self.get(name)
        if not isinstance(value, str) or len(value) > 40:
            raise self.malformed(name, value, "an RFC 3339 UTC time")
        try:
            return parse_time(value)
        except VerificationFailed:
            raise self.malformed(name, value, "an RFC 3339 UTC time") from None

    def items(self, name: str, count_max: int) -> list[Any]:
        """Read a list of at most ``count_max`` items; null and missing are empty (Go's nil slice)."""
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > count_max:
            raise self.malformed(name, value, f"a list of at most {count_max}")
        return value
