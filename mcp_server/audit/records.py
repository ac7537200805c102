"""The records of an audit log, frozen, and the one JSON form of each.

Owns what a record says and its strict reading. Promises that what is read writes back the same. Whether a
record stands where it may is judged by ``walk``. Pure. Source: docs/spec/mcp-audit.md §2.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from consensus.light.timestamp import format_time, parse_time
from ledger import canonical, shape
from ledger.errors import Code, Refused
from ledger.keys import SIGNATURE_BYTES, Algorithm
from ledger.limits import CHAIN_ID_BYTES_MAX, DID_BYTES_MAX, KEY_ID_BYTES_MAX
from ledger.types import Json, JsonObject
from mcp_server.audit.digests import Digest, digest_json
from mcp_server.audit.limits import (
    DOOR_CODES_MAX,
    LINE_BYTES_MAX,
    NAME_CHARACTERS_MAX,
    REASONS_MAX,
    UNFINISHED_MAX,
)

FORMAT = "conclave-audit/1"
_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST_NAME = re.compile(r"sha256|hmac-sha256:[0-9a-f]{16}")
_NAME_BYTES_MAX = 4 * NAME_CHARACTERS_MAX + 8


class Verdict(enum.StrEnum):
    """What was decided of a call."""

    ALLOW = "allow"
    WARN = "warn"
    REFUSE = "refuse"
    SUSPEND = "suspend"


class Ended(enum.StrEnum):
    """How a call ended.

    ``answered``; ``error``: the work ended in an error that was told; ``refused``: it was never done;
    ``withheld``: it was done and nothing of it was handed out; ``lost``: its end was never told to the audit.
    """

    ANSWERED = "answered"
    ERROR = "error"
    REFUSED = "refused"
    WITHHELD = "withheld"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Segment:
    """The first record of a file: whose log it is, and by which rules it is written."""

    kind: ClassVar[str] = "segment"
    log: str
    number: int
    node: str
    key: str
    chain: str
    digests: str
    head_records: int

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {
            "format": FORMAT,
            "log": self.log,
            "number": self.number,
            "node": self.node,
            "key": self.key,
            "chainId": self.chain,
            "digests": self.digests,
            "headRecords": self.head_records,
        }


@dataclass(frozen=True, slots=True)
class Started:
    """A server began to write.

    Attributes:
        version: the program's.
        torn: what was cut off at the end of the file, a record that was broken off; None where nothing was.
        unfinished: calls that were open when the server before ended.
    """

    kind: ClassVar[str] = "started"
    version: str
    torn: Digest | None = None
    unfinished: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {
            "version": self.version,
            "torn": digest_json(self.torn),
            "unfinished": list(self.unfinished),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """A call and what was decided of it, before anything of it was done.

    Attributes:
        call: its id.
        sort: ``tool``, ``resource``, ``prompt``, ``completion`` or ``list``.
        name: of the tool, prompt …; cut, and what looks like a secret replaced.
        principal: the DID of who asked; None where nobody is known.
        key: the id of the key by which it is known; None where there is none.
        arguments: their digest and size.
        verdict: what was decided.
        reasons: why, each with ``code`` and ``name``; none where it is allowed as it is.
    """

    kind: ClassVar[str] = "decision"
    call: str
    sort: str
    name: str
    principal: str | None
    key: str | None
    arguments: Digest
    verdict: Verdict
    reasons: tuple[JsonObject, ...] = ()

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {
            "call": self.call,
            "sort": self.sort,
            "name": self.name,
            "principal": self.principal,
            "key": self.key,
            "arguments": digest_json(self.arguments),
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, before its answer was handed out.

    Attributes:
        call: its id.
        ended: how.
        reasons: warnings about the answer, or the error it ended in.
        height: of the state that was read; None where none was.
        result: digest and size of what is handed out; None where nothing is.
        duration_us: from decision to here.
    """

    kind: ClassVar[str] = "outcome"
    call: str
    ended: Ended
    reasons: tuple[JsonObject, ...] = ()
    height: int | None = None
    result: Digest | None = None
    duration_us: int = 0

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {
            "call": self.call,
            "ended": self.ended.value,
            "reasons": list(self.reasons),
            "height": self.height,
            "result": digest_json(self.result),
            "durationMicroseconds": self.duration_us,
        }


@dataclass(frozen=True, slots=True)
class Head:
    """A signature over everything before it; ``closes`` where the server ended in order."""

    kind: ClassVar[str] = "head"
    signature: bytes
    closes: bool = False

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {"closes": self.closes, "signature": base64.b64encode(self.signature).decode()}


@dataclass(frozen=True, slots=True)
class Anchored:
    """The ledger has the hash ``head`` of record ``count`` since ``height``."""

    kind: ClassVar[str] = "anchored"
    count: int
    head: str
    height: int

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {"count": self.count, "head": self.head, "height": self.height}


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many requests were not let in since the last such record, by the name of the code."""

    kind: ClassVar[str] = "refusals"
    codes: dict[str, int]

    def to_json(self) -> JsonObject:
        """Give its own fields."""
        return {"codes": dict(self.codes)}


Body = Segment | Started | Decision | Outcome | Head | Anchored | Refusals


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its place in the log from 1, the hash before it, when, and what."""

    sequence: int
    previous: str
    time_ns: int
    body: Body

    def to_json(self) -> JsonObject:
        """Give the record as it is written."""
        return {
            "kind": self.body.kind,
            "previous": self.previous,
            "sequence": self.sequence,
            "time": format_time(self.time_ns),
            **self.body.to_json(),
        }


_FRAME = ("kind", "previous", "sequence", "time")


def read_record(content: bytes) -> Record:
    """Read a record's bytes.

    Raises:
        Refused: what is wrong with them, at which field.
        VerificationFailed: HEADER_MALFORMED for a time that is none.
    """
    value = canonical.load(content, bytes_max=LINE_BYTES_MAX)
    if type(value) is not dict:
        raise shape.invalid("record", value, "an object")
    kind = shape.choice(value.get("kind"), "record.kind", list(_READERS))
    names, read = _READERS[kind]
    given = shape.fields(value, "record", required=(*_FRAME, *names))
    time_text = shape.text(given["time"], "record.time", bytes_max=40)
    time_ns = parse_time(time_text)
    if format_time(time_ns) != time_text:
        raise shape.invalid("record.time", time_text, "the one spelling of a time")
    return Record(
        sequence=shape.integer(given["sequence"], "record.sequence", at_least=1),
        previous=shape.digest(given["previous"], "record.previous"),
        time_ns=time_ns,
        body=read(given),
    )


def _segment(given: JsonObject) -> Segment:
    shape.choice(given["format"], "record.format", (FORMAT,))
    if not _DIGEST_NAME.fullmatch(str(given["digests"])):
        raise shape.invalid("record.digests", given["digests"], "sha256, or hmac-sha256: and 16 hex digits")
    return Segment(
        log=shape.digest(given["log"], "record.log"),
        number=shape.integer(given["number"], "record.number", at_least=1),
        node=shape.did(given["node"], "record.node"),
        key=shape.text(given["key"], "record.key", bytes_max=KEY_ID_BYTES_MAX),
        chain=shape.text(given["chainId"], "record.chainId", bytes_max=CHAIN_ID_BYTES_MAX),
        digests=given["digests"],
        head_records=shape.integer(given["headRecords"], "record.headRecords", at_least=1, at_most=10_000),
    )


def _started(given: JsonObject) -> Started:
    calls = shape.array(given["unfinished"], "record.unfinished", items_max=UNFINISHED_MAX)
    return Started(
        version=shape.text(given["version"], "record.version", bytes_max=64),
        torn=_optional(given["torn"], "record.torn", _digest),
        unfinished=tuple(_identifier(item, f"record.unfinished[{i}]") for i, item in enumerate(calls)),
    )


def _decision(given: JsonObject) -> Decision:
    return Decision(
        call=_identifier(given["call"], "record.call"),
        sort=shape.text(given["sort"], "record.sort", bytes_max=32),
        name=shape.text(given["name"], "record.name", bytes_max=_NAME_BYTES_MAX, empty=True),
        principal=_optional(given["principal"], "record.principal", _did),
        key=_optional(given["key"], "record.key", _key),
        arguments=_digest(given["arguments"], "record.arguments"),
        verdict=Verdict(shape.choice(given["verdict"], "record.verdict", list(Verdict))),
        reasons=_reasons(given["reasons"]),
    )


def _outcome(given: JsonObject) -> Outcome:
    return Outcome(
        call=_identifier(given["call"], "record.call"),
        ended=Ended(shape.choice(given["ended"], "record.ended", list(Ended))),
        reasons=_reasons(given["reasons"]),
        height=_optional(given["height"], "record.height", shape.integer),
        result=_optional(given["result"], "record.result", _digest),
        duration_us=shape.integer(given["durationMicroseconds"], "record.durationMicroseconds"),
    )


def _head(given: JsonObject) -> Head:
    text = shape.text(given["signature"], "record.signature", bytes_max=128)
    try:
        signature = base64.b64decode(text, validate=True)
    except binascii.Error:
        signature = b""
    whole = len(signature) == SIGNATURE_BYTES[Algorithm.ED25519]
    if not whole or base64.b64encode(signature).decode() != text:
        raise shape.invalid("record.signature", text, "64 bytes in base64")
    return Head(signature, shape.boolean(given["closes"], "record.closes"))


def _anchored(given: JsonObject) -> Anchored:
    return Anchored(
        count=shape.integer(given["count"], "record.count", at_least=1),
        head=shape.digest(given["head"], "record.head"),
        height=shape.integer(given["height"], "record.height", at_least=1),
    )


def _refusals(given: JsonObject) -> Refusals:
    codes = given["codes"]
    if type(codes) is not dict or not 0 < len(codes) <= DOOR_CODES_MAX:
        raise shape.invalid("record.codes", codes, f"1 to {DOOR_CODES_MAX} codes")
    found = {
        shape.text(name, "record.codes", bytes_max=64): shape.integer(count, "record.codes", at_least=1)
        for name, count in codes.items()
    }
    return Refusals(found)


_READERS: dict[str, tuple[tuple[str, ...], Callable[[JsonObject], Body]]] = {
    "segment": (
        ("format", "log", "number", "node", "key", "chainId", "digests", "headRecords"),
        _segment,
    ),
    "started": (("version", "torn", "unfinished"), _started),
    "decision": (("call", "sort", "name", "principal", "key", "arguments", "verdict", "reasons"), _decision),
    "outcome": (("call", "ended", "reasons", "height", "result", "durationMicroseconds"), _outcome),
    "head": (("closes", "signature"), _head),
    "anchored": (("count", "head", "height"), _anchored),
    "refusals": (("codes",), _refusals),
}


def _optional(value: Json, where: str, read: Callable[[Json, str], object]) -> Json:
    return None if value is None else read(value, where)


def _identifier(value: Json, where: str) -> str:
    if type(value) is not str or not _ID.fullmatch(value):
        raise shape.invalid(where, value, "32 lower-case hex digits")
    return value


def _did(value: Json, where: str) -> str:
    return shape.text(value, where, bytes_max=DID_BYTES_MAX)


def _key(value: Json, where: str) -> str:
    return shape.text(value, where, bytes_max=KEY_ID_BYTES_MAX)


def _digest(value: Json, where: str) -> Digest:
    given = shape.fields(value, where, required=("bytes", "digest"))
    size = shape.integer(given["bytes"], f"{where}.bytes")
    return Digest(size, shape.digest(given["digest"], f"{where}.digest"))


def _reasons(value: Json) -> tuple[JsonObject, ...]:
    items = shape.array(value, "record.reasons", items_max=REASONS_MAX)
    for place, item in enumerate(items):
        where = f"record.reasons[{place}]"
        if type(item) is not dict:
            raise shape.invalid(where, item, "an object")
        if "code" not in item or "name" not in item:
            raise Refused(Code.FIELD_MISSING, got="nothing", expected=f"{where}.code and .name", field=where)
        shape.integer(item["code"], f"{where}.code")
        shape.text(item["name"], f"{where}.name", bytes_max=64)
    return tuple(items)
