"""Bodies: every kind written and read back, each refusal with its code and its field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ledger import actions, bodies, canonical
from ledger.actions import Judgement, Proposal
from ledger.changes import Release, Rollback
from ledger.errors import Code
from ledger.limits import CLUSTERS_PER_RELEASE_MAX, OBJECTS_PER_RELEASE_MAX, REASON_BYTES_MAX
from ledger.types import API_VERSION, ActionKind
from tests.support.refusal import refusal_of
from tests.support.subjects import DIGEST, configmap, release, report_of

ID = "cd" * 32
PROPOSE = canonical.load(bodies.release_body(release(), reason="why"))
ROLLBACK = canonical.load(bodies.rollback_body("web", 3))
APPROVE = canonical.load(bodies.judgement_body(ActionKind.APPROVAL, ID, DIGEST))
REJECT = canonical.load(bodies.judgement_body(ActionKind.REJECTION, ID, DIGEST, reason="no"))
REPORT = canonical.load(bodies.report_body(report_of()))
DELETE = object()


def read(body: Any) -> actions.Action:
    return actions.read_action(canonical.dump(body), image_digest_required=True)


def change(body: Any, path: str, value: Any) -> Any:
    """Give a copy of ``body`` with the field at ``path`` set, or removed with DELETE."""
    changed = copy.deepcopy(body)
    node = changed
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in parents:
        node = node[step]
    if value is DELETE:
        del node[last]
    else:
        node[last] = value
    return changed


@pytest.mark.requires("ledger.action-round-trip")
def test_every_kind_reads_back_as_written() -> None:
    assert read(PROPOSE) == Proposal(
        Release("web", ("east",), "demo", [configmap("settings")], release()["spec"]["provenance"]), "why"
    )
    assert read(ROLLBACK) == Proposal(Rollback("web", 3), "")
    assert read(APPROVE) == Judgement(ActionKind.APPROVAL, ID, DIGEST, "")
    assert read(REJECT) == Judgement(ActionKind.REJECTION, ID, DIGEST, "no")
    assert read(REPORT) == report_of()
    kinds = [actions.kind_of(read(body)) for body in (PROPOSE, ROLLBACK, APPROVE, REJECT, REPORT)]
    assert kinds == ["Proposal", "Proposal", "Approval", "Rejection", "Report"]


RELEASE = "change.release"
REFUSED: list[tuple[Any, str, Any, Code]] = [
    (PROPOSE, "apiVersion", "v1", Code.ACTION_UNKNOWN),
    (PROPOSE, "apiVersion", DELETE, Code.ACTION_UNKNOWN),
    (PROPOSE, "kind", "Release", Code.ACTION_UNKNOWN),
    (PROPOSE, "kind", DELETE, Code.ACTION_UNKNOWN),
    (PROPOSE, "kind", ["Proposal"], Code.ACTION_UNKNOWN),
    (PROPOSE, "extra", 1, Code.FIELD_UNKNOWN),
    (PROPOSE, "change", DELETE, Code.FIELD_MISSING),
    (PROPOSE, "change", [], Code.FIELD_INVALID),
    (PROPOSE, "change", {}, Code.FIELD_INVALID),
    (PROPOSE, "change.rollback", ROLLBACK["change"]["rollback"], Code.FIELD_INVALID),
    (PROPOSE, "change.other", {}, Code.FIELD_UNKNOWN),
    (PROPOSE, "reason", 5, Code.FIELD_INVALID),
    (PROPOSE, "reason", "é" * REASON_BYTES_MAX, Code.LIMIT_EXCEEDED),
    (PROPOSE, RELEASE, None, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.apiVersion", "v1", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.kind", "Cluster", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata", DELETE, Code.FIELD_MISSING),
    (PROPOSE, f"{RELEASE}.metadata.labels", {}, Code.FIELD_UNKNOWN),
    (PROPOSE, f"{RELEASE}.metadata.name", "Web", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata.name", "a/b", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata.name", "web\n", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata.name", "", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata.name", "a" * 64, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.metadata.name", None, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.clusters", [], Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.clusters", ["b", "a"], Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.clusters", ["a", "a"], Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.clusters", "east", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.clusters", ["a"] * (CLUSTERS_PER_RELEASE_MAX + 1), Code.LIMIT_EXCEEDED),
    (PROPOSE, f"{RELEASE}.spec.namespace", "-", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.manifests", [], Code.EMPTY_RELEASE),
    (PROPOSE, f"{RELEASE}.spec.manifests", {}, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.manifests", [{}] * (OBJECTS_PER_RELEASE_MAX + 1), Code.LIMIT_EXCEEDED),
    (PROPOSE, f"{RELEASE}.spec.manifests", [1], Code.OBJECT_INVALID),
    (PROPOSE, f"{RELEASE}.spec.provenance", DELETE, Code.FIELD_MISSING),
    (PROPOSE, f"{RELEASE}.spec.provenance.source", "jsonnet", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.provenance.digest", DIGEST.upper(), Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.provenance.renderer", "x" * 257, Code.LIMIT_EXCEEDED),
    (PROPOSE, f"{RELEASE}.spec.provenance.renderer", "", Code.FIELD_INVALID),
    (ROLLBACK, "change.rollback.toRevision", 0, Code.FIELD_INVALID),
    (ROLLBACK, "change.rollback.toRevision", True, Code.FIELD_INVALID),
    (ROLLBACK, "change.rollback.toRevision", 1.5, Code.FIELD_INVALID),
    (ROLLBACK, "change.rollback.toRevision", "1", Code.FIELD_INVALID),
    (ROLLBACK, "change.rollback.force", True, Code.FIELD_UNKNOWN),
    (APPROVE, "proposal", ID[:-1], Code.FIELD_INVALID),
    (APPROVE, "proposal", DELETE, Code.FIELD_MISSING),
    (APPROVE, "digest", "g" * 64, Code.FIELD_INVALID),
    (APPROVE, "digest", DELETE, Code.FIELD_MISSING),
    (APPROVE, "reason", "lgtm", Code.FIELD_UNKNOWN),
    (REJECT, "comment", "x", Code.FIELD_UNKNOWN),
    (REPORT, "cluster", "East", Code.FIELD_INVALID),
    (REPORT, "revision", 0, Code.FIELD_INVALID),
    (REPORT, "sequence", 0, Code.FIELD_INVALID),
    (REPORT, "sequence", DELETE, Code.FIELD_MISSING),
    (REPORT, "outcome", "fine", Code.FIELD_INVALID),
    (REPORT, "health", "green", Code.FIELD_INVALID),
    (REPORT, "objects", None, Code.FIELD_INVALID),
    (REPORT, "objects.0.object", "x" * 701, Code.LIMIT_EXCEEDED),
    (REPORT, "objects.0.outcome", "applied", Code.FIELD_INVALID),
    (REPORT, "objects.0.code", 10_000, Code.FIELD_INVALID),
    (REPORT, "objects.0.code", -1, Code.FIELD_INVALID),
    (REPORT, "objects.0.log", "", Code.FIELD_UNKNOWN),
    (REPORT, "objects", [REPORT["objects"][0]] * (2 * OBJECTS_PER_RELEASE_MAX + 1), Code.LIMIT_EXCEEDED),
    (REPORT, "reason", "x", Code.FIELD_UNKNOWN),
]


@pytest.mark.requires("ledger.action-strict")
@pytest.mark.parametrize(
    ("body", "path", "value", "code"), REFUSED, ids=[f"{b['kind']}-{p}-{c.name}" for b, p, _, c in REFUSED]
)
def test_each_broken_field_is_refused_by_code(body: Any, path: str, value: Any, code: Code) -> None:
    read(body)
    refusal = refusal_of(lambda: read(change(body, path, value)), code)
    if code in (Code.FIELD_INVALID, Code.FIELD_UNKNOWN, Code.FIELD_MISSING):
        assert refusal.facts["field"].startswith("body.")
        last = path.rpartition(".")[2]
        assert last in refusal.facts["field"] or refusal.facts["field"] == "body.change"


@pytest.mark.requires("ledger.action-strict")
@pytest.mark.parametrize("body", [None, [], "Proposal", 5, {}, {"apiVersion": API_VERSION}])
def test_a_body_that_is_no_action_is_refused(body: Any) -> None:
    refusal_of(lambda: read(body), Code.ACTION_UNKNOWN)
