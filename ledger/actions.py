"""The actions a subject can take: what each envelope body may say.

Owns the strict reading of bodies into frozen records. Whether an action is allowed now is judged elsewhere.
Source: docs/spec/ledger.md §2, identities.md §4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ledger import canonical, codec, shape
from ledger.agent_actions import Anchor, Observation, Suspension, read_body
from ledger.authority.patterns import read_patterns
from ledger.authority.scope import Operation
from ledger.changes import Change, Configure, Delete, Release, Rollback, Withdraw, read_change
from ledger.errors import Code, Refused
from ledger.key_set import KeyObject, Purpose, read_key_objects, read_next
from ledger.limits import (
    KEYS_PER_IDENTITY_MAX,
    METRICS_PER_REPORT_MAX,
    OBJECTS_PER_RELEASE_MAX,
    REASON_BYTES_MAX,
)
from ledger.records import ChangeSummary, MetricRecord
from ledger.types import API_VERSION, ActionKind, Did, JsonObject

OUTCOMES = ("applied", "partial", "failed")
HEALTHS = ("current", "in_progress", "failed", "terminating", "unknown")
OBJECT_OUTCOMES = ("created", "configured", "unchanged", "deleted", "skipped", "conflict", "failed")
_OBJECT_ID_BYTES_MAX = 700
_FRAME = ("apiVersion", "kind")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change somebody asks the quorum for.

    Attributes:
        change: what.
        reason: why, for those who judge.
        against: the newest revision it was made for, 0 where there was none; None if it may follow any.
        break_glass: the break-glass object under which it is made, if any.
        dry_run: digest of the dry run its proposer made, if any.
    """

    change: Change
    reason: str
    against: int | None = None
    break_glass: str | None = None
    dry_run: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """An approval or a rejection of one exact proposal under one exact requirement."""

    kind: ActionKind
    proposal: str
    digest: str
    requirement: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What a bridge did with a revision. ``objects`` as in docs/spec/ledger.md §2."""

    cluster: str
    release: str
    revision: int
    sequence: int
    outcome: str
    health: str
    objects: tuple[JsonObject, ...]
    metrics: tuple[MetricRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Freeze:
    """A stop, by one authorised person, on everything that would be applied in a scope."""

    name: str
    clusters: tuple[str, ...]
    namespaces: tuple[str, ...]
    releases: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of some keys of a subject, of all active ones where none is named, at once."""

    subject: Did
    key_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A pause of a release's rollout, or its end."""

    kind: ActionKind
    release: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A rotation or recovery of the signer's keys."""

    kind: ActionKind
    keys: tuple[KeyObject, ...]
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deactivation:
    """The signer's own end."""

    reason: str


AgentAction = Suspension | Anchor | Observation
Action = Proposal | Judgement | Report | Freeze | Revocation | Hold | KeyChange | Deactivation | AgentAction

_KINDS: dict[type, ActionKind] = {
    Proposal: ActionKind.PROPOSAL,
    Report: ActionKind.REPORT,
    Freeze: ActionKind.FREEZE,
    Revocation: ActionKind.REVOCATION,
    Deactivation: ActionKind.DEACTIVATION,
    Suspension: ActionKind.SUSPENSION,
    Anchor: ActionKind.ANCHOR,
    Observation: ActionKind.OBSERVATION,
}
_PURPOSES = {
    ActionKind.PROPOSAL: Purpose.PROPOSE,
    ActionKind.APPROVAL: Purpose.APPROVE,
    ActionKind.REJECTION: Purpose.APPROVE,
    ActionKind.REPORT: Purpose.REPORT,
    ActionKind.FREEZE: Purpose.GUARD,
    ActionKind.REVOCATION: Purpose.GUARD,
    ActionKind.PAUSE: Purpose.GUARD,
    ActionKind.RESUME: Purpose.GUARD,
    ActionKind.ROTATION: Purpose.ROTATE,
    ActionKind.RECOVERY: Purpose.ROTATE,
    ActionKind.DEACTIVATION: Purpose.ROTATE,
    ActionKind.SUSPENSION: Purpose.GUARD,
    ActionKind.ANCHOR: Purpose.REPORT,
    ActionKind.OBSERVATION: Purpose.PROPOSE,
}
URGENT_KINDS = frozenset(
    {
        ActionKind.FREEZE,
        ActionKind.REVOCATION,
        ActionKind.PAUSE,
        ActionKind.RECOVERY,
        ActionKind.DEACTIVATION,
        ActionKind.SUSPENSION,
    }
)
"""Actions that only ever take away: they pass a flooded mempool first."""


def kind_of(action: Action) -> ActionKind:
    """Give the kind of an action, by which kinds of subject and purposes of keys are judged."""
    if isinstance(action, Judgement | Hold | KeyChange):
        return action.kind
    return _KINDS[type(action)]


def purpose_of(kind: ActionKind) -> Purpose:
    """Give the purpose a key must have to sign such an action.

    To take back what one proposed oneself, ``propose`` is enough too.
    """
    return _PURPOSES[kind]


def summary_of(proposal: Proposal) -> ChangeSummary:
    """Give what a proposal changes, without its manifests."""
    match proposal.change:
        case Release() as release:
            return ChangeSummary(
                Operation.APPLY, release.name, clusters=release.clusters, against=proposal.against
            )
        case Rollback() as rollback:
            return ChangeSummary(
                Operation.ROLLBACK, rollback.release, rollback.to_revision, against=proposal.against
            )
        case Withdraw() as withdraw:
            return ChangeSummary(Operation.WITHDRAW, withdraw.release)
        case Delete() as delete:
            return ChangeSummary(Operation.DELETE, delete.release, prune=delete.prune)
        case Configure() as change:
            removed = (f"remove/{o.kind}/{o.name}" for o in change.remove)
            put = (f"put/{o.kind}/{o.name}" for o in change.put)
            return ChangeSummary(Operation.CONFIGURE, None, objects=(*removed, *put))


def read_action(body: bytes, *, image_digest_required: bool) -> Action:
    """Read an envelope's body.

    Args:
        body: canonical JSON.
        image_digest_required: the ledger parameter.

    Raises:
        Refused: any code of ``canonical``, ``shape``, ``manifest`` and ``keys``, or ACTION_UNKNOWN.
    """
    value = canonical.load(body)
    if type(value) is not dict or value.get("apiVersion") != API_VERSION:
        got = value.get("apiVersion") if type(value) is dict else value
        raise Refused(
            Code.ACTION_UNKNOWN, got=got, expected=f"apiVersion {API_VERSION}", field="body.apiVersion"
        )
    kind = value.get("kind")
    if type(kind) is not str or kind not in _READERS:
        raise Refused(Code.ACTION_UNKNOWN, got=kind, expected=" | ".join(ActionKind), field="body.kind")
    if kind == ActionKind.PROPOSAL:
        return _proposal(value, image_digest_required)
    return _READERS[kind](value, ActionKind(kind))


def _proposal(value: JsonObject, image_digest_required: bool) -> Proposal:
    body = shape.fields(
        value,
        "body",
        required=(*_FRAME, "change"),
        optional=("reason", "against", "breakGlass", "dryRun"),
    )
    return Proposal(
        change=read_change(body["change"], "body.change", image_digest_required=image_digest_required),
        reason=_reason(body),
        against=shape.integer(body["against"], "body.against") if "against" in body else None,
        break_glass=shape.name(body["breakGlass"], "body.breakGlass") if "breakGlass" in body else None,
        dry_run=shape.digest(body["dryRun"], "body.dryRun") if "dryRun" in body else None,
    )


def _judgement(value: JsonObject, kind: ActionKind) -> Judgement:
    optional = ("reason",) if kind is ActionKind.REJECTION else ()
    required = (*_FRAME, "proposal", "digest", "requirement")
    body = shape.fields(value, "body", required=required, optional=optional)
    return Judgement(
        kind,
        shape.digest(body["proposal"], "body.proposal"),
        shape.digest(body["digest"], "body.digest"),
        shape.digest(body["requirement"], "body.requirement"),
        _reason(body),
    )


def _report(value: JsonObject, _: ActionKind) -> Report:
    required = (*_FRAME, "cluster", "release", "revision", "sequence", "outcome", "health", "objects")
    body = shape.fields(value, "body", required=required, optional=("metrics",))
    objects = shape.array(body["objects"], "body.objects", items_max=2 * OBJECTS_PER_RELEASE_MAX)
    for index, item in enumerate(objects):
        at = f"body.objects[{index}]"
        shape.fields(item, at, required=("object", "outcome", "health", "code"))
        shape.text(item["object"], f"{at}.object", bytes_max=_OBJECT_ID_BYTES_MAX)
        shape.choice(item["outcome"], f"{at}.outcome", OBJECT_OUTCOMES)
        shape.choice(item["health"], f"{at}.health", HEALTHS)
        shape.integer(item["code"], f"{at}.code", at_most=9999)
    metrics = shape.array(body.get("metrics", []), "body.metrics", items_max=METRICS_PER_REPORT_MAX)
    return Report(
        cluster=shape.name(body["cluster"], "body.cluster"),
        release=shape.name(body["release"], "body.release"),
        revision=shape.integer(body["revision"], "body.revision", at_least=1),
        sequence=shape.integer(body["sequence"], "body.sequence", at_least=1),
        outcome=shape.choice(body["outcome"], "body.outcome", OUTCOMES),
        health=shape.choice(body["health"], "body.health", HEALTHS),
        objects=tuple(objects),
        metrics=tuple(codec.read(MetricRecord, m, f"body.metrics[{i}]") for i, m in enumerate(metrics)),
    )


def _freeze(value: JsonObject, _: ActionKind) -> Freeze:
    required = (*_FRAME, "name", "clusters", "namespaces", "releases")
    body = shape.fields(value, "body", required=required, optional=("reason",))
    return Freeze(
        shape.name(body["name"], "body.name"),
        read_patterns(body["clusters"], "body.clusters"),
        read_patterns(body["namespaces"], "body.namespaces"),
        read_patterns(body["releases"], "body.releases"),
        _reason(body),
    )


def _revocation(value: JsonObject, _: ActionKind) -> Revocation:
    body = shape.fields(value, "body", required=(*_FRAME, "subject", "keyIds"), optional=("reason",))
    ids = shape.array(body["keyIds"], "body.keyIds", items_max=KEYS_PER_IDENTITY_MAX)
    keys = tuple(shape.text(v, f"body.keyIds[{i}]", bytes_max=128) for i, v in enumerate(ids))
    if list(keys) != sorted(set(keys)):
        raise shape.invalid("body.keyIds", list(keys), "key ids, sorted, each once")
    return Revocation(Did(shape.did(body["subject"], "body.subject")), keys, _reason(body))


def _hold(value: JsonObject, kind: ActionKind) -> Hold:
    body = shape.fields(value, "body", required=(*_FRAME, "release"), optional=("reason",))
    return Hold(kind, shape.name(body["release"], "body.release"), _reason(body))


def _key_change(value: JsonObject, kind: ActionKind) -> KeyChange:
    body = shape.fields(value, "body", required=(*_FRAME, "keys", "next"))
    return KeyChange(kind, read_key_objects(body["keys"], "body.keys"), read_next(body["next"], "body.next"))


def _deactivation(value: JsonObject, _: ActionKind) -> Deactivation:
    return Deactivation(_reason(shape.fields(value, "body", required=_FRAME, optional=("reason",))))


def _reason(body: JsonObject) -> str:
    return shape.text(body.get("reason", ""), "body.reason", bytes_max=REASON_BYTES_MAX, empty=True)


_READERS: dict[str, Callable[[JsonObject, ActionKind], Action]] = {
    ActionKind.PROPOSAL: lambda value, _: _proposal(value, True),
    ActionKind.APPROVAL: _judgement,
    ActionKind.REJECTION: _judgement,
    ActionKind.REPORT: _report,
    ActionKind.FREEZE: _freeze,
    ActionKind.REVOCATION: _revocation,
    ActionKind.PAUSE: _hold,
    ActionKind.RESUME: _hold,
    ActionKind.ROTATION: _key_change,
    ActionKind.RECOVERY: _key_change,
    ActionKind.DEACTIVATION: _deactivation,
    ActionKind.SUSPENSION: lambda value, _: read_body(Suspension, value),
    ActionKind.ANCHOR: lambda value, _: read_body(Anchor, value),
    ActionKind.OBSERVATION: lambda value, _: read_body(Observation, value),
}
