"""The records the ledger keeps: frozen, written and read in one place.

Owns the JSON of the values in docs/spec/ledger.md §3 that no room of its own describes (identities,
accounts, ledger objects, rollouts and scale have one each). Reading is strict, so that a verifier never
works on a record this version does not understand.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from ledger import canonical, codec, shape
from ledger.codec import Digest, Limits, Name, Names, Positive
from ledger.limits import (
    APPROVALS_PER_PROPOSAL_MAX,
    AUTOSCALE_SECONDS_MAX,
    CHAIN_ID_BYTES_MAX,
    ENVELOPES_PER_WINDOW_MAX,
    FREEZES_MAX,
    METRICS_PER_REPORT_MAX,
    OBJECTS_PER_CHANGE_MAX,
    OBJECTS_PER_RELEASE_MAX,
    OPEN_PROPOSALS_MAX,
    PATTERNS_MAX,
    PROPOSAL_TTL_BLOCKS_MAX,
    PROPOSAL_TTL_BLOCKS_MIN,
    REASON_BYTES_MAX,
    ROLLBACKS_KEPT_MAX,
    SIGNATURES_PER_ENVELOPE_MAX,
    VALIDATORS_MAX,
)
from ledger.types import Did, JsonObject, ProposalState

R = TypeVar("R")
Reason = Annotated[str, Limits(bytes_max=REASON_BYTES_MAX, empty=True)]
Patterns = Annotated[tuple[str, ...], Limits(items_max=PATTERNS_MAX)]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The ledger's parameters. Those with a default may be left out where a person writes them.

    Attributes:
        image_digest_required: whether every image of a release must be pinned by digest.
        proposal_ttl_blocks: for how many blocks a proposal can be judged at most.
        open_proposals_max: proposals of one subject that may be open together.
        envelopes_per_window_max: envelopes of one subject in ``RATE_WINDOW_BLOCKS`` heights.
        rollbacks_per_window_max: automatic rollbacks of one release in the window, before it is frozen.
        rollback_window_seconds: that window.
    """

    image_digest_required: bool
    proposal_ttl_blocks: Annotated[int, Limits(PROPOSAL_TTL_BLOCKS_MIN, PROPOSAL_TTL_BLOCKS_MAX)]
    open_proposals_max: Annotated[int, Limits(1, OPEN_PROPOSALS_MAX)] = 64
    envelopes_per_window_max: Annotated[int, Limits(1, ENVELOPES_PER_WINDOW_MAX)] = 1000
    rollbacks_per_window_max: Annotated[int, Limits(0, ROLLBACKS_KEPT_MAX)] = 3
    rollback_window_seconds: Annotated[int, Limits(1, AUTOSCALE_SECONDS_MAX)] = 3600


@dataclass(frozen=True, slots=True)
class JudgementRecord:
    """One approval or rejection: its envelope, who, with which keys, of which requirement, since when."""

    envelope: Digest
    signer: Did
    keys: Annotated[tuple[str, ...], Limits(items_max=SIGNATURES_PER_ENVELOPE_MAX)]
    requirement: Digest
    height: int


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """What a proposal changes, without its manifests.

    Attributes:
        operation: ``apply``, ``rollback``, ``withdraw``, ``delete`` or ``configure``.
        release: the release; None for ``configure``.
        to_revision: for ``rollback``.
        clusters: those a release names; empty for everything else.
        against: the newest revision it was made for, 0 where there was none; None if it may follow any.
        prune: for ``delete``: whether the objects go too.
        objects: for ``configure``: ``put/Role/ops``, ``remove/Role/ops``, in order.
    """

    operation: str
    release: Name | None
    to_revision: int | None = None
    clusters: Names = ()
    against: int | None = None
    prune: bool = False
    objects: Annotated[tuple[str, ...], Limits(items_max=OBJECTS_PER_CHANGE_MAX)] = ()


Judgements = Annotated[tuple[JudgementRecord, ...], Limits(items_max=APPROVALS_PER_PROPOSAL_MAX)]


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """A proposal and where it stands.

    Attributes:
        expires: the last height at which it may be judged.
        requirement: digest of what it needed when it was last judged.
        approved_time: block time at which the last approval came, while it waits for its delay.
        constitution: version of the constitution it was executed under.
        code: why it failed, after its delay.
    """

    id: Digest
    number: Positive
    digest: Digest
    proposer: Did
    state: ProposalState
    height: int
    expires: int
    requirement: Digest
    change: ChangeSummary
    break_glass: Name | None = None
    approvals: Judgements = ()
    rejections: Judgements = ()
    approved_time: int | None = None
    final_height: int | None = None
    constitution: int | None = None
    revision: int | None = None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class TouchRecord:
    """One object a change touches; namespace ``-`` where it has none."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """What the machine must know of a release proposal besides its manifests.

    Attributes:
        spec: targets, rollout, health, autoscale, recreate and health rules as signed.
        host: whether a manifest asks for the host.
    """

    release: Name
    namespace: Name
    spec: JsonObject
    touches: Annotated[tuple[TouchRecord, ...], Limits(items_max=OBJECTS_PER_RELEASE_MAX + 1)]
    host: bool


class ReleaseState(enum.StrEnum):
    """Whether a release goes on: ``withdrawn`` starts nowhere new, ``deleted`` leaves its clusters."""

    ACTIVE = "active"
    WITHDRAWN = "withdrawn"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release: its newest revision, the clusters it targets, its newest healthy revision.

    ``rollbacks`` are the times of the newest automatic ones, rising.
    """

    name: Name
    namespace: Name
    revision: Positive
    clusters: Names
    healthy: int | None
    state: ReleaseState
    rollbacks: Annotated[tuple[int, ...], Limits(items_max=ROLLBACKS_KEPT_MAX)] = ()


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """The releases that claim an object, by name; no two of them on one cluster."""

    releases: Names


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One final revision: where its manifests are and what approved it.

    ``cause`` is the number of the incident by which the machine made it; its authority is then its content's.
    """

    release: Name
    revision: Positive
    content: Digest
    authority: Digest
    digest: Digest
    height: int
    time: int
    clusters: Names
    rollback_of: int | None
    cause: int | None = None


class DesiredState(enum.StrEnum):
    """Whether a cluster shall have a release."""

    PRESENT = "present"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class DesiredRecord:
    """What a cluster's bridge makes true of a release, since ``time``."""

    cluster: Name
    release: Name
    revision: Positive
    state: DesiredState
    prune: bool
    time: int


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """A metric of one object as a bridge saw it, with the replicas it had then."""

    object: str
    name: Name
    value: int
    replicas: int


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """The newest report of a cluster on a release."""

    cluster: Name
    release: Name
    revision: Positive
    sequence: Positive
    outcome: str
    health: str
    objects: Annotated[tuple[JsonObject, ...], Limits(items_max=2 * OBJECTS_PER_RELEASE_MAX)]
    metrics: Annotated[tuple[MetricRecord, ...], Limits(items_max=METRICS_PER_REPORT_MAX)]
    height: int
    time: int
    reporter: Did


class IncidentKind(enum.StrEnum):
    """Why people should look."""

    ROLLBACK = "rollback"
    ROLLOUT_FAILED = "rollout-failed"
    RELEASE_FROZEN = "release-frozen"
    BREAK_GLASS = "break-glass"
    RECOVERY = "recovery"
    AGENT_SUSPENDED = "agent-suspended"


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """Something that people should look at, as the machine saw it."""

    number: Positive
    kind: IncidentKind
    height: int
    time: int
    reason: Reason
    release: Name | None = None
    revision: int | None = None
    new_revision: int | None = None
    cluster: Name | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class FreezeRecord:
    """A stop on everything that would be applied in its scope. ``by`` is a DID, or ``machine``."""

    name: Name
    clusters: Patterns
    namespaces: Patterns
    releases: Patterns
    by: str
    reason: Reason
    height: int
    time: int


@dataclass(frozen=True, slots=True)
class FreezesRecord:
    """All freezes there are, by name."""

    freezes: Annotated[tuple[FreezeRecord, ...], Limits(items_max=FREEZES_MAX)] = ()


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A constitution object and its version; ``subject`` for bindings only."""

    name: Name
    version: Positive
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class ConstitutionRecord:
    """One version of the constitution: every role, binding, rule and break-glass object in it.

    Attributes:
        digest: SHA-256 over the digest before it and what changed, so that it names the whole history.
        authority: the proposal that made it; None at genesis.
    """

    version: Positive
    digest: Digest
    height: int
    authority: Digest | None
    roles: tuple[ObjectVersion, ...]
    bindings: tuple[ObjectVersion, ...]
    rules: tuple[ObjectVersion, ...]
    break_glasses: tuple[ObjectVersion, ...]


@dataclass(frozen=True, slots=True)
class ValidatorRecord:
    """A validator: its key, its power, and the node identity it is bound to, if genesis named one."""

    name: str
    key_id: str
    power: Positive
    node: Did | None


@dataclass(frozen=True, slots=True)
class ValidatorsRecord:
    """The validator set two heights on, and how much of it changed at ``step_height``."""

    validators: Annotated[tuple[ValidatorRecord, ...], Limits(items_max=VALIDATORS_MAX)]
    step_height: int = 0
    step_total: int = 0
    step_changed: int = 0


@dataclass(frozen=True, slots=True)
class ProtocolRecord:
    """The version of the machine's rules in force, and the one that follows at a height."""

    version: Positive
    next_version: int | None = None
    next_height: int | None = None


def write(record: Any) -> bytes:
    """Give a record's canonical bytes."""
    return canonical.dump_plain(codec.to_json(record))


def _reader(record: type[R], remembered: int) -> Callable[[bytes], R]:
    def read(content: bytes) -> R:
        # The state's root vouches for these bytes.
        return codec.read(record, canonical.load_plain(content), record.__name__)

    return functools.lru_cache(maxsize=remembered)(read) if remembered else read


read_parameters = _reader(Parameters, 64)
read_proposal = _reader(ProposalRecord, 0)
read_content = _reader(ContentRecord, 64)
read_release = _reader(ReleaseRecord, 256)
read_revision = _reader(RevisionRecord, 64)
read_desired = _reader(DesiredRecord, 256)
read_claim = _reader(ClaimRecord, 1024)
read_report = _reader(ReportRecord, 0)
read_incident = _reader(IncidentRecord, 0)
read_freezes = _reader(FreezesRecord, 16)
read_constitution = _reader(ConstitutionRecord, 8)
read_validators = _reader(ValidatorsRecord, 8)
read_protocol = _reader(ProtocolRecord, 8)


def read_parameters_object(value: Any, where: str) -> Parameters:
    """Read parameters as a person wrote them: those with a default may be missing.

    Raises:
        Refused: any code of ``ledger.shape``.
    """
    return codec.read(Parameters, value, where)


def read_count(content: bytes | None) -> int:
    """Read a counter; absent means 0."""
    return 0 if content is None else shape.integer(_field(content, "count"), "count")


def write_count(count: int) -> bytes:
    """Give the bytes of a counter."""
    return canonical.dump_plain({"count": count})


def read_number(content: bytes) -> str:
    """Read the id a proposal number stands for."""
    return shape.digest(_field(content, "id"), "proposal-number.id")


def write_number(identifier: str) -> bytes:
    """Give the bytes of a proposal number's record."""
    return canonical.dump_plain({"id": identifier})


def read_did(content: bytes) -> Did:
    """Read the DID a name stands for."""
    return Did(shape.did(_field(content, "did"), "identity-name.did"))


def write_did(did: str) -> bytes:
    """Give the bytes of a name's record."""
    return canonical.dump_plain({"did": did})


def write_ledger(chain_id: str) -> bytes:
    """Give the bytes of the ``ledger`` record."""
    return canonical.dump({"chainId": chain_id})


def read_ledger(content: bytes) -> str:
    """Read the chain id from the ``ledger`` record."""
    return shape.text(_field(content, "chainId"), "ledger.chainId", bytes_max=CHAIN_ID_BYTES_MAX)


def state_at(record: ProposalRecord, height: int) -> ProposalState:
    """Give where a proposal stands at ``height``: an open one that nobody can judge any more is expired."""
    if record.state is ProposalState.OPEN and height > record.expires:
        return ProposalState.EXPIRED
    return record.state


def _field(content: bytes, name: str) -> Any:
    return shape.fields(canonical.load_plain(content), "record", required=(name,))[name]
