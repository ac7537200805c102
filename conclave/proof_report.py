"""What ``conclave verify FILE`` says: who, what, when, with which keys, final by whose signatures.

Owns the words, for people and for programs, and the reading of the two files a person names. Promises that
nothing is said that was not verified, or that it says so. Judges nothing. Imports no network client.
"""

from __future__ import annotations

import base64
from pathlib import Path

from conclave.files import read_file
from conclave.output import Output
from consensus.light.timestamp import format_time
from consensus.proof_file.findings import Finding, Trail, Voice
from consensus.proof_file.form import Kind, ProofFile, Question
from consensus.proof_file.judge import Judged, SignedBy
from consensus.trust_store import TrustRoot
from ledger import canonical, codec, shape
from ledger.errors import Code, ConclaveError, Refused
from ledger.limits import MIB
from ledger.types import Json, JsonObject

_GENESIS_BYTES_MAX = 64 * MIB
_ACTS = {"proposed": "proposed it", "approved": "approved it"}


def root_of(genesis: Path | None, height: int | None, digest: str | None, chain_id: str) -> TrustRoot:
    """Give the root of trust a person named. A header's hash binds its chain: ``chain_id`` may be a file's.

    Raises:
        Refused: USAGE for none or two, GENESIS_INVALID, FIELD_INVALID.
        EnvironmentFault: HOME_INVALID.
    """
    by_header = height is not None or digest is not None
    if (genesis is None) is not by_header or (height is None) is not (digest is None):
        raise Refused(
            Code.USAGE,
            got="no root of trust, or more than one",
            expected="--genesis FILE, or --trust-height H with --trust-hash HASH",
            todo="see: conclave verify --help",
        )
    if height is not None and digest is not None:
        named = bytes.fromhex(shape.digest(digest.lower(), "--trust-hash"))
        return TrustRoot.at(chain_id, height, named)
    assert genesis is not None
    content = read_file(genesis, _GENESIS_BYTES_MAX)
    try:
        return TrustRoot.from_genesis(canonical.parse(content))
    except Refused as refusal:
        raise Refused(
            Code.GENESIS_INVALID,
            got=refusal.got,
            expected="the genesis file of the ledger",
            file=str(genesis),
            cause=refusal.code.name,
        ) from None


def explained(error: ConclaveError, file: ProofFile) -> ConclaveError:
    """Give the error with what to do about it where a file is judged."""
    if error.code is Code.TRUST_EXPIRED:
        newest = format_time(file.blocks[-1].header.time_ns)
        error.todo = (
            "name a newer header of the file as the root of trust; or, if you know that the file was made "
            f"by then, judge it as it stood: --at {newest}"
        )
    return error


def document(judged: Judged, *, is_past: bool) -> JsonObject:
    """Give everything a program may want to know."""
    finding = judged.finding
    return {
        "verdict": "verified",
        "chainId": judged.chain_id,
        "question": _question(judged.question),
        "asOf": format_time(judged.now_ns),
        "asOfNamed": is_past,
        "root": {
            "kind": "genesis" if judged.root.hash is None else "header",
            "height": judged.root.height,
            "hash": judged.headers[0].hash.hex(),
        },
        "stateHeight": judged.state_height if judged.question.kind is not Kind.HEADERS else None,
        "release": _release(finding),
        "value": _value(finding.value),
        "isAbsent": judged.question.kind is Kind.KEY and finding.value is None,
        "proposals": [_trail(judged, trail) for trail in finding.trails],
        "headers": [_header(header) for header in judged.headers],
        "blocksBelowRoot": judged.ignored,
    }


def show(output: Output, judged: Judged, *, is_past: bool) -> None:
    """Print the report for people."""
    output.line(f"VERIFIED: {_title(judged)}", "good")
    output.line(f"ledger:      {judged.chain_id}")
    output.line(f"trusted:     {_root(judged)}")
    output.line(f"proven by:   {_signed(judged.headers[-1])}")
    moment = format_time(judged.now_ns)
    if is_past:
        output.line(f"as of:       {moment}, as you said; it is not judged whether it still stands", "warn")
    else:
        output.line(f"as of:       {moment}, this machine's clock")
    for trail in judged.finding.trails:
        output.line()
        _show_trail(output, judged, trail)
    if judged.question.kind is Kind.KEY:
        output.line()
        output.line(f"value:       {canonical.dump(_value(judged.finding.value)).decode()}")
    output.line()
    output.line("Headers that were verified, each signed by over two thirds:", "bold")
    rows = [[h.height, format_time(h.time_ns), h.hash.hex(), _votes(h), _share(h)] for h in judged.headers]
    output.table(["height", "time", "hash", "validators", "power"], rows)
    if judged.ignored:
        output.line(f"{judged.ignored} blocks of the file lie below the root of trust and were not judged.")


def _show_trail(output: Output, judged: Judged, trail: Trail) -> None:
    output.line(f"Proposal {trail.number}: {what(trail)}", "bold")
    if trail.reason:
        output.line(f"reason:      {trail.reason}")
    output.line(f"signed:      digest {trail.digest}")
    rows = [
        [
            voice.who.name,
            voice.who.organisation,
            _ACTS[voice.act] + ("" if voice.counted else " (not counted)"),
            voice.height,
            _when(judged, voice),
            voice.keys,
        ]
        for voice in trail.voices
    ]
    output.table(["who", "of", "did", "height", "when", "keys"], rows)
    header = _header_at(judged, trail.final_height)
    if header is None:
        output.line(f"final:       in block {trail.final_height}, as the proven record says")
    else:
        output.line(f"final:       {_signed(header)}")
    if any(voice.envelope not in judged.included for voice in trail.voices):
        output.line(
            "Heights without a time are those of the proven record; their blocks are not in this proof."
        )


def what(trail: Trail) -> str:
    """Give a change in words."""
    change = trail.change
    if change.release is None:
        return f"{change.operation} {', '.join(change.objects)}"
    to = f" to revision {change.to_revision}" if change.to_revision is not None else ""
    clusters = f" on {', '.join(change.clusters)}" if change.clusters else ""
    return f"{change.operation} release {change.release}{to}{clusters}"


def _title(judged: Judged) -> str:
    question, found = judged.question, judged.finding.revision
    if found is not None:
        clusters = ", ".join(found.clusters)
        count = f"{len(found.manifests)} object{'s' if len(found.manifests) != 1 else ''}"
        return f"revision {found.revision} of release {found.name}, {count} for {clusters}"
    if question.kind is Kind.HEADERS:
        return f"headers {judged.headers[0].height} to {judged.headers[-1].height}"
    if question.kind is Kind.KEY:
        absent = " is absent" if judged.finding.value is None else ""
        return f"{question.name}{absent} in the state of height {judged.state_height}"
    return f"proposal {judged.finding.trails[0].number} was approved and is final"


def _root(judged: Judged) -> str:
    if judged.root.hash is None:
        return f"the genesis file's validators, from height {judged.root.height}"
    return f"header {judged.root.height} with the hash you named"


def _signed(header: SignedBy) -> str:
    return (
        f"block {header.height} of {format_time(header.time_ns)}, signed by {_votes(header)} validators "
        f"with {_share(header)} of the power"
    )


def _votes(header: SignedBy) -> str:
    return f"{len(header.signers)} of {header.validators}"


def _share(header: SignedBy) -> str:
    tenths = header.signed * 1000 // header.total
    return f"{tenths // 10}.{tenths % 10} %"


def _when(judged: Judged, voice: Voice) -> str | None:
    header = _header_at(judged, voice.height)
    return format_time(header.time_ns) if header and voice.envelope in judged.included else None


def _header_at(judged: Judged, height: int) -> SignedBy | None:
    return next((header for header in judged.headers if header.height == height), None)


def _question(question: Question) -> JsonObject:
    return {"kind": str(question.kind), "name": question.name, "revision": question.revision}


def _release(finding: Finding) -> JsonObject | None:
    found = finding.revision
    if found is None:
        return None
    return {
        "name": found.name,
        "revision": found.revision,
        "digest": found.digest,
        "clusters": list(found.clusters),
        "namespace": found.namespace,
        "height": found.height,
        "incident": found.cause,
        "manifests": list(found.manifests),
    }


def _trail(judged: Judged, trail: Trail) -> JsonObject:
    header = _header_at(judged, trail.final_height)
    return {
        "id": trail.id,
        "number": trail.number,
        "digest": trail.digest,
        "reason": trail.reason,
        "change": codec.to_json(trail.change),
        "requirement": trail.requirement,
        "constitution": trail.constitution,
        "finalHeight": trail.final_height,
        "finalBy": None if header is None else _header(header),
        "voices": [
            {
                "act": voice.act,
                "did": voice.who.did,
                "name": voice.who.name,
                "kind": voice.who.kind.value,
                "organisation": voice.who.organisation,
                "keys": list(voice.keys),
                "envelope": voice.envelope,
                "height": voice.height,
                "time": _when(judged, voice),
                "inBlock": voice.envelope in judged.included,
                "counted": voice.counted,
            }
            for voice in trail.voices
        ],
    }


def _header(header: SignedBy) -> JsonObject:
    return {
        "height": header.height,
        "hash": header.hash.hex(),
        "time": format_time(header.time_ns),
        "signers": [address.hex() for address in header.signers],
        "power": {"signed": header.signed, "total": header.total},
        "validators": header.validators,
    }


def _value(value: bytes | None) -> Json:
    if value is None:
        return None
    try:
        return canonical.load_plain(value)
    except Refused:
        return {"base64": base64.b64encode(value).decode()}
