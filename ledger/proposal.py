"""The actions a subject can take: what each envelope body may say.

Owns the strict reading of bodies into frozen records and the writing of bodies. Whether an action is allowed
now is judged elsewhere. Source: docs/spec/ledger.md §2.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import canonical, manifest, shape
from ledger.errors import Code, Refused
from ledger.limits import (
    CLUSTERS_PER_RELEASE_MAX,
    OBJECTS_PER_RELEASE_MAX,
    REASON_BYTES_MAX,
)
from ledger.types import API_VERSION, ActionKind, Json, JsonObject

SOURCES = ("yaml", "kustomize", "helm")
OUTCOMES = ("applied", "partial", "failed")
HEALTHS = ("current", "in_progress", "failed", "terminating", "unknown")
OBJECT_OUTCOMES = ("created", "configured", "unchanged", "deleted", "skipped", "conflict", "failed")
_OBJECT_ID_BYTES_MAX = 700
_RENDERER_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class Release:
    """A proposed release: its name, where it goes and its manifests as signed."""

    name: str
    clusters: tuple[str, ...]
    namespace: str
    manifests: list[JsonObject]
    provenance: JsonObject


@dataclass(frozen=True, slots=True)
class Rollback:
    """A proposed return of a release to the content of an earlier revision."""

    release: str
    to_revision: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change somebody asks the quorum for.

    Attributes:
        change: what.
        reason: why, for those who judge.
        against: the newest revision it was made for, 0 where there was none; None if it may follow any.
    """

    change: Release | Rollback
    reason: str
    against: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """An approval or a rejection of one exact proposal."""

    kind: ActionKind
    proposal: str
    digest: str
    reason: str


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


Action = Proposal | Judgement | Report


def kind_of(action: Action) -> ActionKind:
    """Give the kind of an action, by which roles are judged."""
    if isinstance(action, Proposal):
        return ActionKind.PROPOSAL
    return action.kind if isinstance(action, Judgement) else ActionKind.REPORT


def read_action(body: bytes, *, image_digest_required: bool) -> Action:
    """Read an envelope's body.

    Args:
        body: canonical JSON.
        image_digest_required: the ledger parameter.

    Raises:
        Refused: any code of ``canonical``, ``shape`` and ``manifest``, or ACTION_UNKNOWN.
    """
    value = canonical.load(body)
    if type(value) is not dict or value.get("apiVersion") != API_VERSION:
        got = value.get("apiVersion") if type(value) is dict else value
        raise Refused(
            Code.ACTION_UNKNOWN, got=got, expected=f"apiVersion {API_VERSION}", field="body.apiVersion"
        )
    match value.get("kind"):
        case ActionKind.PROPOSAL.value:
            return _read_proposal(value, image_digest_required)
        case ActionKind.APPROVAL.value:
            return _read_judgement(value, ActionKind.APPROVAL)
        case ActionKind.REJECTION.value:
            return _read_judgement(value, ActionKind.REJECTION)
        case ActionKind.REPORT.value:
            return _read_report(value)
        case other:
            raise Refused(
                Code.ACTION_UNKNOWN,
                got=other,
                expected=" | ".join(k.value for k in ActionKind),
                field="body.kind",
            )


def _read_proposal(value: Json, image_digest_required: bool) -> Proposal:
    body = shape.fields(
        value, "body", required=("apiVersion", "kind", "change"), optional=("reason", "against")
    )
    change = shape.fields(body["change"], "body.change", required=(), optional=("release", "rollback"))
    if len(change) != 1:
        raise shape.invalid("body.change", sorted(change), "exactly one of release, rollback")
    reason = _reason(body)
    against = shape.integer(body["against"], "body.against") if "against" in body else None
    if "rollback" in change:
        rollback = shape.fields(
            change["rollback"], "body.change.rollback", required=("release", "toRevision")
        )
        return Proposal(
            Rollback(
                shape.name(rollback["release"], "body.change.rollback.release"),
                shape.integer(rollback["toRevision"], "body.change.rollback.toRevision", at_least=1),
            ),
            reason,
            against,
        )
    release = read_release(change["release"], image_digest_required=image_digest_required)
    return Proposal(release, reason, against)


def read_release(value: Json, *, image_digest_required: bool, where: str = "body.change.release") -> Release:
    """Read a ``Release`` object, strictly.

    Raises:
        Refused: any code of ``shape`` and ``manifest``.
    """
    release = shape.fields(value, where, required=("apiVersion", "kind", "metadata", "spec"))
    shape.choice(release["apiVersion"], f"{where}.apiVersion", (API_VERSION,))
    shape.choice(release["kind"], f"{where}.kind", ("Release",))
    metadata = shape.fields(release["metadata"], f"{where}.metadata", required=("name",))
    spec = shape.fields(
        release["spec"], f"{where}.spec", required=("clusters", "namespace", "manifests", "provenance")
    )
    at = f"{where}.spec.provenance"
    provenance = shape.fields(spec["provenance"], at, required=("source", "digest", "renderer"))
    shape.choice(provenance["source"], f"{at}.source", SOURCES)
    shape.digest(provenance["digest"], f"{at}.digest")
    shape.text(provenance["renderer"], f"{at}.renderer", bytes_max=_RENDERER_BYTES_MAX)
    manifests = shape.array(spec["manifests"], f"{where}.spec.manifests", items_max=OBJECTS_PER_RELEASE_MAX)
    if not manifests:
        raise Refused(
            Code.EMPTY_RELEASE,
            got="no manifests",
            expected="at least one",
            todo="an empty release would remove all",
        )
    manifest.check_all(manifests, image_digest_required=image_digest_required)
    return Release(
        name=shape.name(metadata["name"], f"{where}.metadata.name"),
        clusters=shape.sorted_names(
            spec["clusters"], f"{where}.spec.clusters", items_max=CLUSTERS_PER_RELEASE_MAX
        ),
        namespace=shape.name(spec["namespace"], f"{where}.spec.namespace"),
        manifests=manifests,
        provenance=provenance,
    )


def _read_judgement(value: Json, kind: ActionKind) -> Judgement:
    optional = ("reason",) if kind is ActionKind.REJECTION else ()
    body = shape.fields(
        value, "body", required=("apiVersion", "kind", "proposal", "digest"), optional=optional
    )
    return Judgement(
        kind,
        shape.digest(body["proposal"], "body.proposal"),
        shape.digest(body["digest"], "body.digest"),
        _reason(body),
    )


def _read_report(value: Json) -> Report:
    required = (
        "apiVersion", "kind", "cluster", "release", "revision", "sequence", "outcome", "health", "objects",
    )  # fmt: skip
    body = shape.fields(value, "body", required=required)
    objects = shape.array(body["objects"], "body.objects", items_max=2 * OBJECTS_PER_RELEASE_MAX)
    for index, item in enumerate(objects):
        at = f"body.objects[{index}]"
        shape.fields(item, at, required=("object", "outcome", "health", "code"))
        shape.text(item["object"], f"{at}.object", bytes_max=_OBJECT_ID_BYTES_MAX)
        shape.choice(item["outcome"], f"{at}.outcome", OBJECT_OUTCOMES)
        shape.choice(item["health"], f"{at}.health", HEALTHS)
        shape.integer(item["code"], f"{at}.code", at_most=9999)
    return Report(
        cluster=shape.name(body["cluster"], "body.cluster"),
        release=shape.name(body["release"], "body.release"),
        revision=shape.integer(body["revision"], "body.revision", at_least=1),
        sequence=shape.integer(body["sequence"], "body.sequence", at_least=1),
        outcome=shape.choice(body["outcome"], "body.outcome", OUTCOMES),
        health=shape.choice(body["health"], "body.health", HEALTHS),
        objects=tuple(objects),
    )


def _reason(body: JsonObject) -> str:
    return shape.text(body.get("reason", ""), "body.reason", bytes_max=REASON_BYTES_MAX, empty=True)


def release_body(release: JsonObject, *, reason: str = "", against: int | None = None) -> bytes:
    """Write the body that proposes ``release`` (a ``Release`` object), made for the revision ``against``."""
    return _write(ActionKind.PROPOSAL, _against({"change": {"release": release}}, against), reason)


def rollback_body(release: str, to_revision: int, *, reason: str = "", against: int | None = None) -> bytes:
    """Write the body that proposes to roll ``release`` back to ``to_revision``."""
    change = {"rollback": {"release": release, "toRevision": to_revision}}
    return _write(ActionKind.PROPOSAL, _against({"change": change}, against), reason)


def _against(content: JsonObject, against: int | None) -> JsonObject:
    return content if against is None else {**content, "against": against}


def judgement_body(kind: ActionKind, proposal: str, digest: str, *, reason: str = "") -> bytes:
    """Write the body that approves or rejects ``proposal``, whose body has the SHA-256 ``digest`` (hex)."""
    return _write(kind, {"proposal": proposal, "digest": digest}, reason)


def report_body(report: Report) -> bytes:
    """Write the body of a bridge's report."""
    content = {
        "cluster": report.cluster,
        "release": report.release,
        "revision": report.revision,
        "sequence": report.sequence,
        "outcome": report.outcome,
        "health": report.health,
        "objects": list(report.objects),
    }
    return _write(ActionKind.REPORT, content, "")


def _write(kind: ActionKind, content: JsonObject, reason: str) -> bytes:
    body = {"apiVersion": API_VERSION, "kind": kind.value, **content}
    return canonical.dump(body | ({"reason": reason} if reason else {}))
