"""What ``conclave audit`` says of logs, and the reading of what a person knows beforehand.

Promises that a proof of an anchor is believed only after it was judged from the root of trust that was named,
and that a log verifies only under a key that somebody named, that this home has, or that a known head is of.
Imports no network client.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conclave.errors import to_json
from conclave.files import read_file
from conclave.home import load
from conclave.output import Output
from consensus.light.timestamp import format_time
from identity.signer import open_signer
from ledger import canonical, shape
from ledger.agent_records import read_anchor
from ledger.errors import Code, ConclaveError, Refused, VerificationFailed
from ledger.keys import DID_KEY_PREFIX
from ledger.limits import BODY_BYTES_MAX
from ledger.types import JsonObject, SubjectKind
from mcp_server.audit.digests import KEY_BYTES, Digester
from mcp_server.audit.files import KEY_NAME, OWN_KEY_NAME, Checked, Trust
from mcp_server.audit.walk import Mark

_ANCHOR_KEY = "audit-anchor/"


def trust_of(
    heads: Sequence[str], proofs: Sequence[Path], keys: Sequence[str], roots: dict[str, Any], now_ns: int
) -> Trust:
    """Read what is known of logs: heads somebody noted, anchors with their proof, expected keys.

    Args:
        heads: ``LOG:COUNT:HASH`` each.
        proofs: files of ``conclave export proof``.
        keys: key ids, or did:key.
        roots: ``genesis``, ``trust_height`` and ``trust_hash``, as for ``conclave verify``.
        now_ns: the present in which the proofs are judged.

    Raises:
        Refused: USAGE; VerificationFailed: a proof does not verify; EnvironmentFault: a file is not there.
    """
    marks = [_named(text) for text in heads] + [_proven(path, roots, now_ns) for path in proofs]
    by_log: dict[str, tuple[Mark, ...]] = {}
    for mark in marks:
        by_log[mark.log] = (*by_log.get(mark.log, ()), mark)
    return Trust(frozenset(key.removeprefix(DID_KEY_PREFIX) for key in keys), by_log)


def own_keys(home: Path, folders: Iterable[Path]) -> dict[str, str]:
    """Give the key ids that may have signed a home's logs, with where each is known from.

    Args:
        home: whose node subjects may; it may not be there.
        folders: of logs; the key file that a server made beside them may.
    """
    found: dict[str, str] = {}
    for place in dict.fromkeys(near for folder in folders for near in (folder, folder.parent)):
        path = place / OWN_KEY_NAME
        # One that cannot be read vouches for nothing, and that is what the log is told then.
        with contextlib.suppress(ConclaveError):
            found[open_signer(f"file:{path}").key_id] = str(path)
    with contextlib.suppress(ConclaveError):
        for subject in load(home).subjects:
            if subject.kind is SubjectKind.NODE and subject.did.startswith(DID_KEY_PREFIX):
                found[subject.did.removeprefix(DID_KEY_PREFIX)] = f"subject {subject.name} of {home}"
    return found


def pin(found: Iterable[Checked], own: Mapping[str, str]) -> None:
    """Find wrong what verifies under a key that nobody vouches for: neither ``own`` nor a known head."""
    for checked in found:
        header = checked.walk.header
        if header is None or checked.error is not None or checked.walk.marks_met or header.key in own:
            continue
        checked.error = VerificationFailed(
            Code.AUDIT_SIGNATURE_INVALID,
            got=f"a log signed by {header.key}, which nobody named",
            expected="one of " + ", ".join(sorted(own)) if own else "a key that is known to be the server's",
            todo="name the server's key with --key, or say --any-key to judge the rest only",
        )


def digest_of(arguments: Path, folder: Path) -> str:
    """Give the digest that a log has for the arguments in a file.

    Raises:
        Refused: BODY_NOT_JSON; EnvironmentFault: HOME_INVALID where a file cannot be read.
    """
    key = read_file(folder / KEY_NAME, KEY_BYTES)
    return Digester(key).of(canonical.parse(read_file(arguments, BODY_BYTES_MAX))).hex


def document(found: Sequence[Checked], missing: VerificationFailed | None) -> JsonObject:
    """Give everything a program may want to know."""
    first = first_error(found, missing)
    return {
        "verdict": "verified" if first is None else first.code.name,
        "logs": [_log(checked) for checked in found],
        **({} if missing is None else {"missing": to_json(missing)}),
    }


def show(output: Output, found: Sequence[Checked], own: Mapping[str, str]) -> None:
    """Print a report for people; errors come after it. ``own``: as of ``own_keys``."""
    for checked in found:
        walk, counts = checked.walk, checked.walk.counts
        if walk.header is None:
            continue
        word, style = ("VERIFIED", "good") if checked.error is None else ("NOT VERIFIED", "bad")
        output.line(f"{word}: {checked.folder}", style)
        output.line(f"log:         {walk.header.log} of {walk.header.node}, for {walk.header.chain}")
        known = own.get(walk.header.key)
        output.line(f"signed by:   {walk.header.key}" + (f", of {known}" if known else ""))
        output.line(
            f"records:     {counts.records} in {counts.segments} files, "
            f"{format_time(counts.first_ns)} to {format_time(counts.last_ns)}"
        )
        output.line(f"calls:       {counts.calls}, {counts.denied} of them refused")
        output.line(
            f"starts:      {counts.starts}, {counts.kills} after a kill; {counts.unfinished} calls without "
            f"an outcome, {counts.torn} records broken off"
        )
        output.line(f"head:        {walk.header.log}:{walk.tip.sequence}:{walk.tip.hash}")
        output.line(f"end:         {_ending(checked)}")
        if walk.anchored is not None:
            said = f"record {walk.anchored.count} at height {walk.anchored.height}"
            output.line(f"anchored:    {said}, as the log says; prove it with --anchor-proof")


def first_error(found: Sequence[Checked], missing: VerificationFailed | None) -> VerificationFailed | None:
    """Give the first thing that is wrong."""
    return next((checked.error for checked in found if checked.error is not None), missing)


def _log(checked: Checked) -> JsonObject:
    walk, counts = checked.walk, checked.walk.counts
    header, anchored = walk.header, walk.anchored
    return {
        "folder": str(checked.folder),
        "verdict": "verified" if checked.error is None else checked.error.code.name,
        "error": None if checked.error is None else to_json(checked.error),
        "log": None if header is None else header.log,
        "node": None if header is None else header.node,
        "key": None if header is None else header.key,
        "chainId": None if header is None else header.chain,
        "records": counts.records,
        "files": counts.segments,
        "calls": counts.calls,
        "refused": counts.denied,
        "starts": counts.starts,
        "kills": counts.kills,
        "unfinished": counts.unfinished,
        "brokenOff": counts.torn,
        "head": {"count": walk.tip.sequence, "hash": walk.tip.hash},
        "signedTo": walk.signed,
        "isClosed": walk.is_closed,
        "isLive": checked.is_live,
        "anchored": None if anchored is None else {"count": anchored.count, "height": anchored.height},
        "marksMet": walk.marks_met,
    }


def _ending(checked: Checked) -> str:
    walk = checked.walk
    unsigned = walk.tip.sequence - walk.signed
    tail = f"; the last {unsigned} records are chained, not signed yet" if unsigned else ""
    if checked.error is not None:
        return "see below"
    if walk.is_closed:
        return "in order"
    return ("a server writes to it" if checked.is_live else "the server was killed") + tail


def _named(text: str) -> Mark:
    log, _, rest = text.partition(":")
    count, _, head = rest.partition(":")
    try:
        return Mark(log, int(count), shape.digest(head, "--head"), "--head")
    except (ValueError, Refused):
        raise Refused(
            Code.USAGE,
            got=text,
            expected="LOG:COUNT:HASH, as conclave audit verify prints it",
            field="--head",
        ) from None


def _proven(path: Path, roots: dict[str, Any], now_ns: int) -> Mark:
    """Judge a proof file of an anchor; give what it proves."""
    from conclave import proof_report
    from consensus.proof_file.form import FILE_BYTES_MAX, Kind, decode
    from consensus.proof_file.judge import judge

    file = decode(read_file(path, FILE_BYTES_MAX))
    root = proof_report.root_of(roots["genesis"], roots["trust_height"], roots["trust_hash"], file.chain_id)
    try:
        judged = judge(file, root, now_ns)
    except ConclaveError as error:
        error.facts.setdefault("file", str(path))
        raise proof_report.explained(error, file) from None
    is_anchor = judged.question.kind is Kind.KEY and judged.question.name.startswith(_ANCHOR_KEY)
    if not is_anchor or judged.finding.value is None:
        raise Refused(
            Code.USAGE,
            got=f"a proof of {judged.question.name or judged.question.kind}",
            expected="a proof of an anchor of an audit log, which is there",
            todo=f"make one with: conclave export proof key/{_ANCHOR_KEY}NODE/LOG -o FILE",
            file=str(path),
        )
    record = read_anchor(judged.finding.value)
    by = f"the ledger since height {record.height}"
    return Mark(record.log, record.count, record.head, by, node=record.node)
