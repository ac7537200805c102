"""The records the ledger keeps: frozen, written and read in one place.

Owns the JSON of every value in docs/spec/ledger.md §3. Reading is strict, so that a verifier never works on a
record this version does not understand.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from ledger import canonical, shape
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    CHAIN_ID_BYTES_MAX,
    CLUSTERS_PER_RELEASE_MAX,
    PROPOSAL_TTL_BLOCKS_MAX,
)
from ledger.roles import ApprovalRule, Identity
from ledger.types import Did, Json, JsonObject, ProposalState, SubjectKind

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The ledger's parameters."""

    imageDigestRequired: bool  # noqa: N815 - the wire spelling
    proposalTtlBlocks: int  # noqa: N815 - the wire spelling


@dataclass(frozen=True, slots=True)
class NonceWindow:
    """The highest nonce a subject used, and which of the 64 up to it are used (bit i: ``highest - i``)."""

    highest: int
    seen: int


@dataclass(frozen=True, slots=True)
class JudgementRecord:
    """One approval or rejection: its envelope's id, who, and the height that included it."""

    envelope: str
    signer: Did
    height: int


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """What a proposal changes, without its manifests."""

    kind: str
    release: str
    to_revision: int | None
    clusters: tuple[str, ...]
    against: int | None = None


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A proposal and where it stands. ``expires`` is the last height at which it may be judged."""

    id: str
    number: int
    digest: str
    proposer: Did
    state: ProposalState
    height: int
    expires: int
    rule: str
    change: ChangeSummary
    approvals: tuple[JudgementRecord, ...] = ()
    rejections: tuple[JudgementRecord, ...] = ()
    final_height: int | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release: its newest revision and the clusters it targets."""

    name: str
    revision: int
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One final revision: where its manifests are and what approved it."""

    release: str
    revision: int
    content: str
    authority: str
    digest: str
    height: int
    clusters: tuple[str, ...]
    rollback_of: int | None


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """The newest report of a cluster on a release."""

    cluster: str
    release: str
    revision: int
    sequence: int
    outcome: str
    health: str
    objects: tuple[JsonObject, ...]
    height: int
    reporter: Did


_WIRE = {"final_height": "finalHeight", "rollback_of": "rollbackOf", "to_revision": "toRevision"}


def write(record: Any) -> bytes:
    """Give a record's canonical bytes; a nonce window's map is written as 16 hex digits.

    Args:
        record: any record of this module, an ``Identity`` or an ``ApprovalRule``.
    """
    if isinstance(record, NonceWindow):
        # Every transaction reads and writes one of these, three times on its way: so without a JSON library.
        return b'{"highest":%d,"seen":"%016x"}' % (record.highest, record.seen)
    return canonical.dump_plain(_to_json(record))


def write_names(names: tuple[str, ...], *, field: str = "names") -> bytes:
    """Give the bytes of an index object."""
    return canonical.dump_plain({field: list(names)})


@functools.lru_cache(maxsize=64)
def read_names(content: bytes | None, *, field: str = "names") -> tuple[str, ...]:
    """Read an index object; absent means an empty list."""
    if content is None:
        return ()
    value = shape.fields(_load(content), "index", required=(field,))[field]
    return tuple(
        shape.text(v, f"index.{field}", bytes_max=512) for v in shape.array(value, "index", items_max=2**20)
    )


def read_count(content: bytes | None) -> int:
    """Read the ``proposals`` counter; absent means 0."""
    return (
        0 if content is None else shape.integer(_fields(_load(content), "count")["count"], "proposals.count")
    )


def write_count(count: int) -> bytes:
    """Give the bytes of the ``proposals`` counter."""
    return canonical.dump_plain({"count": count})


def read_number(content: bytes) -> str:
    """Read the id a proposal number stands for."""
    return shape.digest(_fields(_load(content), "id")["id"], "proposal-number.id")


def write_number(identifier: str) -> bytes:
    """Give the bytes of a proposal number's record."""
    return canonical.dump_plain({"id": identifier})


def write_ledger(chain_id: str) -> bytes:
    """Give the bytes of the ``ledger`` record."""
    return canonical.dump({"chainId": chain_id})


def read_ledger(content: bytes) -> str:
    """Read the chain id from the ``ledger`` record."""
    value = _fields(_load(content), "chainId")["chainId"]
    return shape.text(value, "ledger.chainId", bytes_max=CHAIN_ID_BYTES_MAX)


@functools.lru_cache(maxsize=1024)
def read_parameters(content: bytes) -> Parameters:
    """Read the ledger's parameters."""
    value = _exactly(Parameters, _load(content))
    return Parameters(
        shape.boolean(value["imageDigestRequired"], "parameters.imageDigestRequired"),
        shape.integer(
            value["proposalTtlBlocks"],
            "parameters.proposalTtlBlocks",
            at_least=1,
            at_most=PROPOSAL_TTL_BLOCKS_MAX,
        ),
    )


def read_nonces(content: bytes | None) -> NonceWindow:
    """Read a nonce window; absent means nothing used."""
    if content is None:
        return NonceWindow(0, 0)
    plain = _NONCES.fullmatch(content)
    if plain is not None:
        return NonceWindow(int(plain[1]), int(plain[2], 16))
    value = _fields(_load(content), "highest", "seen")
    seen = value["seen"]
    if type(seen) is not str or len(seen) != 16 or set(seen) - set("0123456789abcdef"):
        raise shape.invalid("nonce.seen", seen, "16 hex digits")
    return NonceWindow(shape.integer(value["highest"], "nonce.highest"), int(seen, 16))


_NONCES = re.compile(rb'\{"highest":(0|[1-9][0-9]{0,14}),"seen":"([0-9a-f]{16})"\}')
"""What ``write`` gives, as far as it is surely below 2^53; the rest takes the long way."""


@functools.lru_cache(maxsize=1024)
def read_identity(content: bytes) -> Identity:
    """Read a subject's record."""
    value = _exactly(Identity, _load(content))
    cluster = value["cluster"]
    return Identity(
        Did(shape.did(value["did"], "identity.did")),
        shape.name(value["name"], "identity.name"),
        SubjectKind(shape.choice(value["kind"], "identity.kind", list(SubjectKind))),
        shape.text(value["organisation"], "identity.organisation", bytes_max=63),
        None if cluster is None else shape.name(cluster, "identity.cluster"),
    )


@functools.lru_cache(maxsize=1024)
def read_rule(content: bytes) -> ApprovalRule:
    """Read an approval rule."""
    value = _exactly(ApprovalRule, _load(content))
    return ApprovalRule(
        shape.name(value["name"], "rule.name"),
        shape.integer(value["humans"], "rule.humans", at_least=1, at_most=APPROVALS_PER_PROPOSAL_MAX),
        shape.integer(
            value["organisations"], "rule.organisations", at_least=1, at_most=APPROVALS_PER_PROPOSAL_MAX
        ),
    )


def read_proposal(content: bytes) -> ProposalRecord:
    """Read a proposal's record."""
    value = _exactly(ProposalRecord, _load(content))
    change = _exactly(ChangeSummary, value["change"])
    return ProposalRecord(
        id=shape.digest(value["id"], "proposal.id"),
        number=shape.integer(value["number"], "proposal.number", at_least=1),
        digest=shape.digest(value["digest"], "proposal.digest"),
        proposer=Did(shape.did(value["proposer"], "proposal.proposer")),
        state=ProposalState(shape.choice(value["state"], "proposal.state", list(ProposalState))),
        height=shape.integer(value["height"], "proposal.height"),
        expires=shape.integer(value["expires"], "proposal.expires"),
        rule=shape.name(value["rule"], "proposal.rule"),
        change=ChangeSummary(
            shape.choice(change["kind"], "proposal.change.kind", ("release", "rollback")),
            shape.name(change["release"], "proposal.change.release"),
            _optional_integer(change["toRevision"], "proposal.change.toRevision"),
            tuple(shape.name(c, "proposal.change.clusters") for c in _clusters(change)),
            _optional_integer(change["against"], "proposal.change.against"),
        ),
        approvals=_judgements(value["approvals"], "proposal.approvals"),
        rejections=_judgements(value["rejections"], "proposal.rejections"),
        final_height=_optional_integer(value["finalHeight"], "proposal.finalHeight"),
        revision=_optional_integer(value["revision"], "proposal.revision"),
    )


def state_at(record: ProposalRecord, height: int) -> ProposalState:
    """Give where a proposal stands at ``height``: an open one that nobody can judge any more is expired."""
    if record.state is ProposalState.OPEN and height > record.expires:
        return ProposalState.EXPIRED
    return record.state


@functools.lru_cache(maxsize=64)
def read_release(content: bytes) -> ReleaseRecord:
    """Read a release's record."""
    value = _exactly(ReleaseRecord, _load(content))
    return ReleaseRecord(
        shape.name(value["name"], "release.name"),
        shape.integer(value["revision"], "release.revision", at_least=1),
        shape.sorted_names(value["clusters"], "release.clusters", items_max=1000),
    )


def read_revision(content: bytes) -> RevisionRecord:
    """Read a revision's record."""
    value = _exactly(RevisionRecord, _load(content))
    return RevisionRecord(
        release=shape.name(value["release"], "revision.release"),
        revision=shape.integer(value["revision"], "revision.revision", at_least=1),
        content=shape.digest(value["content"], "revision.content"),
        authority=shape.digest(value["authority"], "revision.authority"),
        digest=shape.digest(value["digest"], "revision.digest"),
        height=shape.integer(value["height"], "revision.height"),
        clusters=shape.sorted_names(value["clusters"], "revision.clusters", items_max=1000),
        rollback_of=_optional_integer(value["rollbackOf"], "revision.rollbackOf"),
    )


def read_report(content: bytes) -> ReportRecord:
    """Read the newest report of a cluster on a release."""
    value = _exactly(ReportRecord, _load(content))
    return ReportRecord(
        cluster=shape.name(value["cluster"], "report.cluster"),
        release=shape.name(value["release"], "report.release"),
        revision=shape.integer(value["revision"], "report.revision", at_least=1),
        sequence=shape.integer(value["sequence"], "report.sequence", at_least=1),
        outcome=shape.text(value["outcome"], "report.outcome", bytes_max=32),
        health=shape.text(value["health"], "report.health", bytes_max=32),
        objects=tuple(shape.array(value["objects"], "report.objects", items_max=2**14)),
        height=shape.integer(value["height"], "report.height"),
        reporter=Did(shape.did(value["reporter"], "report.reporter")),
    )


def _to_json(value: Any) -> Json:
    if type(value) in _AS_IS:
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_to_json(v) for v in value]
    found = {}
    for name, wire in _SPELLING[type(value)]:
        field = getattr(value, name)
        found[wire] = field if type(field) in _AS_IS else _to_json(field)
    return found


_AS_IS = frozenset({str, int, bool, dict, type(None)})


_SPELLING: dict[object, tuple[tuple[str, str], ...]] = {
    record: tuple((f.name, _WIRE.get(f.name, f.name)) for f in fields(record))
    for record in (
        Parameters,
        JudgementRecord,
        ChangeSummary,
        ProposalRecord,
        ReleaseRecord,
        RevisionRecord,
        ReportRecord,
        Identity,
        ApprovalRule,
    )
}
"""Attribute and wire name of every field, in order."""


def _load(content: bytes) -> Json:
    # The state's root vouches for these bytes.
    return canonical.load_plain(content)


def _fields(value: Json, *names: str) -> JsonObject:
    return shape.fields(value, "record", required=names)


def _exactly(record: type[R], value: Json) -> JsonObject:
    names = [wire for _, wire in _SPELLING[record]]
    return shape.fields(value, record.__name__, required=names)


def _optional_integer(value: Json, where: str) -> int | None:
    return None if value is None else shape.integer(value, where)


def _clusters(change: JsonObject) -> list[Json]:
    return shape.array(change["clusters"], "proposal.change.clusters", items_max=CLUSTERS_PER_RELEASE_MAX)


def _judgements(value: Json, where: str) -> tuple[JudgementRecord, ...]:
    found = []
    for item in shape.array(value, where, items_max=APPROVALS_PER_PROPOSAL_MAX):
        entry = _exactly(JudgementRecord, item)
        found.append(
            JudgementRecord(
                shape.digest(entry["envelope"], f"{where}.envelope"),
                Did(shape.did(entry["signer"], f"{where}.signer")),
                shape.integer(entry["height"], f"{where}.height"),
            )
        )
    return tuple(found)
