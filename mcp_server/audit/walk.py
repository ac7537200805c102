"""Whether the records of a log are all there, in order, unchanged and signed: one line after another.

Owns what may follow what. Promises that of the lines a log was written as, any that was changed, left out,
doubled or moved is refused at its place; that memory does not grow with the log; and that what is not signed
or not anchored yet is counted, never passed over. Reads no file and no clock: the writer itself walks its
last file by these rules before it goes on. Pure. Source: docs/spec/mcp-audit.md §4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ledger.errors import Code, ConclaveError, Refused, VerificationFailed
from ledger.keys import DID_KEY_PREFIX
from mcp_server.audit.limits import HEAD_RECORDS_SLACK, UNFINISHED_MAX
from mcp_server.audit.links import BEGINNING, Tip, is_signed_by, unframed
from mcp_server.audit.records import (
    Anchored,
    Decision,
    Ended,
    Head,
    Outcome,
    Record,
    Segment,
    Started,
    Verdict,
    read_record,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody else knows of a log: the hash of record ``count`` is ``head``; ``by`` says who.

    Where ``node`` is given it speaks of that node's log only: any node may anchor under any id.
    """

    log: str
    count: int
    head: str
    by: str
    node: str | None = None


@dataclass(slots=True)
class Counts:
    """What was met, for the report."""

    records: int = 0
    segments: int = 0
    calls: int = 0
    denied: int = 0
    starts: int = 0
    kills: int = 0
    torn: int = 0
    unfinished: int = 0
    first_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Walk:
    """A walk over one log; ``step`` for each line, ``begin`` before each file, ``end`` after the last.

    Attributes:
        keys: key ids one of which must have signed; any one where empty.
        marks: what is known of logs, by log.
        begins_anywhere: whether the first file may be of a later part of the log, believed as it stands.
        marks_met: how many marks the log agrees with.
    """

    keys: frozenset[str] = frozenset()
    marks: Mapping[str, Iterable[Mark]] = field(default_factory=dict)
    begins_anywhere: bool = False
    tip: Tip = field(default_factory=Tip)
    header: Segment | None = None
    signed: int = 0
    open: dict[str, bool] = field(default_factory=dict)
    is_running: bool = False
    is_closed: bool = False
    anchored: Anchored | None = None
    counts: Counts = field(default_factory=Counts)
    marks_met: int = 0
    _at_start: bool = True
    _due: list[Mark] = field(default_factory=list)

    def begin(self) -> None:
        """Go on with the next file."""
        self._at_start = True

    def step(self, line: bytes) -> Record:
        """Judge a line, without its end.

        Raises:
            VerificationFailed: AUDIT_RECORD_INVALID, AUDIT_SEQUENCE_BROKEN, AUDIT_SIGNATURE_INVALID,
                AUDIT_FORKED, with the fact ``sequence``.
        """
        content, digest = unframed(line)
        try:
            record = read_record(content)
        except ConclaveError as error:
            raise VerificationFailed(
                Code.AUDIT_RECORD_INVALID,
                got=error.got,
                expected=error.expected or "a record",
                cause=error.code.name,
                sequence=self.tip.sequence + 1,
            ) from None
        self._links(record)
        self._judge(record)
        self.tip = Tip(record.sequence, digest)
        self._count(record)
        while self._due and self._due[0].count <= self.tip.sequence:
            mark = self._due.pop(0)
            if mark.head != digest:
                raise VerificationFailed(
                    Code.AUDIT_FORKED,
                    got=f"record {mark.count} with hash {digest}",
                    expected=f"{mark.head}, as {mark.by} has it",
                    log=mark.log,
                    sequence=mark.count,
                )
            self.marks_met += 1
        return record

    def end(self) -> None:
        """Judge where the log ends.

        Raises:
            VerificationFailed: AUDIT_RECORD_INVALID for no record at all, AUDIT_CUT.
        """
        if self.header is None:
            raise VerificationFailed(Code.AUDIT_RECORD_INVALID, got="no record", expected="an audit log")
        if self._due:
            mark = self._due[-1]
            raise VerificationFailed(
                Code.AUDIT_CUT,
                got=f"{self.tip.sequence} records",
                expected=f"at least {mark.count}, as {mark.by} has it",
                log=mark.log,
                sequence=self.tip.sequence + 1,
            )

    def _links(self, record: Record) -> None:
        """Judge a record's place: the next number, on the hash before it."""
        if self._at_start and self.header is None and isinstance(record.body, Segment):
            self._first(record, record.body)
        expected = self.tip.sequence + 1
        if record.sequence != expected:
            raise self._broken(f"record {record.sequence}", f"record {expected}", _missing(record, expected))
        if record.previous != self.tip.hash:
            raise self._broken(f"a record after {record.previous}", f"one after {self.tip.hash}")

    def _first(self, record: Record, header: Segment) -> None:
        """Find out which log it is, what is known of it, and whether the walk may begin here."""
        marks = (mark for mark in self.marks.get(header.log, ()) if mark.node in (None, header.node))
        known = sorted(marks, key=lambda mark: mark.count)
        self._due = [mark for mark in known if mark.count >= record.sequence]
        before = record.sequence - 1
        is_known = any((mark.count, mark.head) == (before, record.previous) for mark in known)
        if before and (is_known or self.begins_anywhere):
            self.tip, self.signed, self.is_running = Tip(before, record.previous), before, True
        is_own = not header.node.startswith(DID_KEY_PREFIX) or header.node == DID_KEY_PREFIX + header.key
        if not is_own or (self.keys and header.key not in self.keys):
            raise VerificationFailed(
                Code.AUDIT_SIGNATURE_INVALID,
                got=f"a log of {header.node} with key {header.key}",
                expected="one of " + ", ".join(sorted(self.keys)) if is_own else "the node's own key",
                sequence=record.sequence,
            )
        if before == 0 and record.previous != BEGINNING:
            raise self._broken(f"a first record after {record.previous}", f"one after {BEGINNING}")

    def _judge(self, record: Record) -> None:
        """Judge what a record says, by what was said before it."""
        body = record.body
        if isinstance(body, Segment) is not self._at_start:
            raise self._misplaced(body.kind, "the header first in each file, and nowhere else")
        self._at_start = False
        if self.header is not None:
            unsigned = record.sequence - 1 - self.signed
            if unsigned > self.header.head_records + HEAD_RECORDS_SLACK:
                raise VerificationFailed(
                    Code.AUDIT_SIGNATURE_INVALID,
                    got=f"{unsigned} records without a signed head",
                    expected=f"at most {self.header.head_records}",
                    sequence=record.sequence,
                )
        if not isinstance(body, Segment | Started) and not self.is_running:
            raise self._misplaced(body.kind, "the start of a server")
        self._said(record)

    def _said(self, record: Record) -> None:
        match record.body:
            case Segment() as body:
                self._segment(body)
            case Started() as body:
                self._started(body)
            case Decision() as body:
                self._decision(body)
            case Outcome() as body:
                self._outcome(body)
            case Head() as body:
                self._head(record, body)
            case Anchored() as body:
                if body.count >= record.sequence:
                    raise self._misplaced("an anchor of a later record", "one of an earlier record")
                self.anchored = body

    def _segment(self, body: Segment) -> None:
        before = self.header
        if before is not None:
            same = (before.log, before.node, before.key, before.chain, before.digests)
            if same != (body.log, body.node, body.key, body.chain, body.digests):
                raise self._misplaced("the header of another log", f"a header of log {before.log}")
            if body.number != before.number + 1:
                raise self._broken(f"file {body.number}", f"file {before.number + 1}")
            if self.signed != self.tip.sequence or self.open:
                raise self._misplaced("a new file", "a signed head, and no open call")
        elif self.tip.sequence == 0 and body.number != 1:
            raise self._broken(f"file {body.number}", "file 1")
        self.header = body

    def _started(self, body: Started) -> None:
        if sorted(body.unfinished) != sorted(self.open):
            raise self._misplaced(
                f"a start that knows of {len(body.unfinished)} unfinished calls",
                f"{len(self.open)}",
            )
        self.counts.unfinished += len(self.open)
        self.counts.kills += self.is_running
        self.counts.torn += body.torn is not None
        self.open.clear()
        self.is_running, self.is_closed = True, False

    def _decision(self, body: Decision) -> None:
        if body.call in self.open:
            raise self._misplaced(f"a second decision of call {body.call}", "one decision of a call")
        if len(self.open) >= UNFINISHED_MAX:
            raise self._misplaced(f"over {UNFINISHED_MAX} open calls", "outcomes")
        self.open[body.call] = body.verdict in (Verdict.REFUSE, Verdict.SUSPEND)

    def _outcome(self, body: Outcome) -> None:
        is_refused = self.open.pop(body.call, None)
        if is_refused is None:
            raise self._misplaced(f"an outcome of call {body.call}", "a decision before it")
        if is_refused is not (body.ended is Ended.REFUSED):
            verdict = "refused" if is_refused else "allowed"
            raise self._misplaced(f"a call {verdict} that ended as {body.ended.value}", "what was decided")

    def _head(self, record: Record, body: Head) -> None:
        assert self.header is not None
        try:
            is_good = is_signed_by(record, body, self.header.key)
        except Refused:
            is_good = False
        if not is_good:
            raise VerificationFailed(
                Code.AUDIT_SIGNATURE_INVALID,
                got="a head with another signature",
                expected=f"one by {self.header.key}",
                sequence=record.sequence,
            )
        self.signed = record.sequence
        if body.closes:
            if self.open:
                raise self._misplaced("an end in order with open calls", "their outcomes")
            self.is_running, self.is_closed = False, True

    def _count(self, record: Record) -> None:
        counts, body = self.counts, record.body
        counts.records += 1
        counts.segments += isinstance(body, Segment)
        counts.starts += isinstance(body, Started)
        counts.first_ns = counts.first_ns or record.time_ns
        counts.last_ns = record.time_ns
        if isinstance(body, Decision):
            counts.calls += 1
            counts.denied += body.verdict in (Verdict.REFUSE, Verdict.SUSPEND)

    def _broken(self, got: str, expected: str, missing: str = "") -> VerificationFailed:
        todo = f"look for {missing}" if missing else ""
        return VerificationFailed(
            Code.AUDIT_SEQUENCE_BROKEN, got=got, expected=expected, todo=todo, sequence=self.tip.sequence + 1
        )

    def _misplaced(self, got: str, expected: str) -> VerificationFailed:
        return VerificationFailed(
            Code.AUDIT_RECORD_INVALID, got=got, expected=expected, sequence=self.tip.sequence + 1
        )


def _missing(record: Record, expected: int) -> str:
    if record.sequence <= expected:
        return ""
    return f"records {expected} to {record.sequence - 1}"
