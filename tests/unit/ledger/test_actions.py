"""Bodies: every kind written and read back, each refusal with its code and its field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ledger import actions, bodies, canonical, standard
from ledger.actions import Judgement, Proposal
from ledger.agent_actions import About, Anchor, Observation, Suspension
from ledger.changes import Configure, Delete, LedgerObject, ObjectName, Release, Rollback, Withdraw
from ledger.errors import Code
from ledger.key_set import KeyObject
from ledger.keys import Algorithm, PublicKey
from ledger.limits import CLUSTERS_PER_RELEASE_MAX, OBJECTS_PER_RELEASE_MAX, REASON_BYTES_MAX
from ledger.types import API_VERSION, ActionKind
from tests.support.refusal import refusal_of
from tests.support.subjects import ALICE, DIGEST, configmap, release, report_of

ID = "cd" * 32
RULE = "ef" * 32
KEY = KeyObject(PublicKey(Algorithm.ED25519, ALICE.public_key), ("approve", "rotate"))
PROPOSE = canonical.load(bodies.release_body(release(), reason="why"))
ROLLBACK = canonical.load(bodies.rollback_body("web", 3))
APPROVE = canonical.load(bodies.judgement_body(ActionKind.APPROVAL, ID, DIGEST, RULE))
REJECT = canonical.load(bodies.judgement_body(ActionKind.REJECTION, ID, DIGEST, RULE, reason="no"))
WITHDRAW = canonical.load(bodies.withdraw_body("web"))
DELETE_RELEASE = canonical.load(bodies.delete_body("web", prune=True))
CONFIGURE = canonical.load(
    bodies.configure_body([standard.ledger_object("Cluster", "north", {})], [("Role", "old")])
)
FREEZE = canonical.load(bodies.freeze_body("stop", clusters=("east",), reason="fire"))
REVOKE = canonical.load(bodies.revocation_body(ALICE.did, (ALICE.key_id,)))
PAUSE = canonical.load(bodies.hold_body(ActionKind.PAUSE, "web"))
ROTATE = canonical.load(bodies.key_change_body(ActionKind.ROTATION, [KEY.to_json()], [ID]))
DEACTIVATE = canonical.load(bodies.deactivation_body())
REPORT = canonical.load(bodies.report_body(report_of()))
SUSPEND = canonical.load(bodies.suspension_body(ALICE.did, code=905, evidence=ID, reason="fire"))
ANCHOR = canonical.load(bodies.anchor_body(ID, 7, DIGEST))
OBSERVE = canonical.load(bodies.observation_body("pause-requested", "it fails", release="web"))
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
        Release(
            "web",
            ("east",),
            "demo",
            [configmap("settings")],
            release()["spec"]["provenance"],
            {"clusters": ["east"]},
        ),
        "why",
    )
    assert read(ROLLBACK) == Proposal(Rollback("web", 3), "")
    assert read(APPROVE) == Judgement(ActionKind.APPROVAL, ID, DIGEST, RULE, "")
    assert read(REJECT) == Judgement(ActionKind.REJECTION, ID, DIGEST, RULE, "no")
    assert read(REPORT) == report_of()
    assert read(WITHDRAW) == Proposal(Withdraw("web"), "")
    assert read(DELETE_RELEASE) == Proposal(Delete("web", True), "")
    changed = Configure((LedgerObject("Cluster", "north", {}, {}),), (ObjectName("Role", "old"),))
    assert read(CONFIGURE) == Proposal(changed, "")
    assert read(FREEZE) == actions.Freeze("stop", ("east",), ("*",), ("*",), "fire")
    assert read(REVOKE) == actions.Revocation(ALICE.did, (ALICE.key_id,), "")
    assert read(PAUSE) == actions.Hold(ActionKind.PAUSE, "web", "")
    assert read(ROTATE) == actions.KeyChange(ActionKind.ROTATION, (KEY,), (ID,))
    assert read(DEACTIVATE) == actions.Deactivation("")
    assert read(SUSPEND) == Suspension(ALICE.did, 905, ID, "fire")
    least = canonical.load(bodies.suspension_body(ALICE.did))
    assert read(least) == Suspension(ALICE.did, None, None, "")
    assert read(ANCHOR) == Anchor(ID, 7, DIGEST)
    assert read(OBSERVE) == Observation(About.PAUSE_REQUESTED, "it fails", "web")
    free = canonical.load(bodies.observation_body("observation", "odd"))
    assert read(free) == Observation(About.OBSERVATION, "odd", None)


@pytest.mark.requires("ledger.action-round-trip")
def test_every_kind_of_action_has_a_reader_a_kind_and_a_purpose() -> None:
    everything = (PROPOSE, APPROVE, REJECT, REPORT, FREEZE, REVOKE, PAUSE, ROTATE, DEACTIVATE, SUSPEND)
    found = {actions.kind_of(read(body)) for body in (*everything, ANCHOR, OBSERVE)}
    assert found | {ActionKind.RESUME, ActionKind.RECOVERY} == set(ActionKind)
    assert {actions.kind_of(read(change(PAUSE, "kind", "Resume")))} == {ActionKind.RESUME}
    assert {actions.kind_of(read(change(ROTATE, "kind", "Recovery")))} == {ActionKind.RECOVERY}
    assert all(actions.purpose_of(kind) for kind in ActionKind)


@pytest.mark.requires("ledger.action-round-trip")
def test_a_proposal_may_name_a_dry_run_and_a_break_glass_object() -> None:
    body = bodies.proposal_body({"withdraw": {"release": "web"}}, break_glass="fire", dry_run=ID, against=0)
    assert actions.read_action(body, image_digest_required=True) == Proposal(
        Withdraw("web"), "", 0, "fire", ID
    )


RELEASE = "change.release"
REFUSED: list[tuple[Any, str, Any, Code]] = [
    (SUSPEND, "agent", DELETE, Code.FIELD_MISSING),
    (SUSPEND, "agent", "bot", Code.FIELD_INVALID),
    (SUSPEND, "code", 10_000, Code.FIELD_INVALID),
    (SUSPEND, "evidence", "CD" * 32, Code.FIELD_INVALID),
    (SUSPEND, "reason", None, Code.FIELD_INVALID),
    (SUSPEND, "extra", 1, Code.FIELD_UNKNOWN),
    (ANCHOR, "count", 0, Code.FIELD_INVALID),
    (ANCHOR, "count", True, Code.FIELD_INVALID),
    (ANCHOR, "head", DELETE, Code.FIELD_MISSING),
    (ANCHOR, "log", "audit", Code.FIELD_INVALID),
    (ANCHOR, "node", ALICE.did, Code.FIELD_UNKNOWN),
    (OBSERVE, "about", "scale-requested", Code.FIELD_INVALID),
    (OBSERVE, "about", DELETE, Code.FIELD_MISSING),
    (OBSERVE, "text", "", Code.FIELD_INVALID),
    (OBSERVE, "text", "é" * 513, Code.LIMIT_EXCEEDED),
    (OBSERVE, "release", "Web", Code.FIELD_INVALID),
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
    (REPORT, "metrics", [{"object": "o", "name": "cpu", "value": -1, "replicas": 1}], Code.FIELD_INVALID),
    (APPROVE, "requirement", DELETE, Code.FIELD_MISSING),
    (APPROVE, "requirement", "x", Code.FIELD_INVALID),
    (PROPOSE, "breakGlass", "No", Code.FIELD_INVALID),
    (PROPOSE, "dryRun", "x", Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.selector", {"matchLabels": {"a": "b"}}, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.rollout", {"waves": [{}]}, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.health", {"healthyPercent": 0}, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.autoscale", {}, Code.FIELD_INVALID),
    (PROPOSE, f"{RELEASE}.spec.recreate", ["v1/ConfigMap/another/one"], Code.FIELD_INVALID),
    (WITHDRAW, "change.withdraw.prune", True, Code.FIELD_UNKNOWN),
    (DELETE_RELEASE, "change.delete.prune", DELETE, Code.FIELD_MISSING),
    (DELETE_RELEASE, "change.delete.prune", 1, Code.FIELD_INVALID),
    (CONFIGURE, "change.configure", {}, Code.FIELD_INVALID),
    (CONFIGURE, "change.configure.put.0.kind", "Freeze", Code.FIELD_INVALID),
    (CONFIGURE, "change.configure.put.0.spec", [], Code.FIELD_INVALID),
    (CONFIGURE, "change.configure.put.0.metadata.labels", {"a": 1}, Code.FIELD_INVALID),
    (
        CONFIGURE,
        "change.configure.put.0.metadata.labels",
        {str(i): "" for i in range(17)},
        Code.LIMIT_EXCEEDED,
    ),
    (CONFIGURE, "change.configure.remove.0.kind", "Parameters", Code.FIELD_INVALID),
    (CONFIGURE, "change.configure.remove", [{"kind": "Role", "name": "a"}] * 2, Code.OBJECT_DUPLICATE),
    (FREEZE, "clusters", [], Code.FIELD_INVALID),
    (FREEZE, "clusters", ["b", "a"], Code.FIELD_INVALID),
    (FREEZE, "namespaces", ["a*b"], Code.FIELD_INVALID),
    (FREEZE, "name", DELETE, Code.FIELD_MISSING),
    (REVOKE, "subject", "alice", Code.FIELD_INVALID),
    (REVOKE, "keyIds", ["b", "a"], Code.FIELD_INVALID),
    (PAUSE, "release", "", Code.FIELD_INVALID),
    (ROTATE, "keys", [], Code.FIELD_INVALID),
    (ROTATE, "keys.0.keyId", ID, Code.FIELD_INVALID),
    (ROTATE, "next", [ID, ID], Code.FIELD_INVALID),
    (DEACTIVATE, "subject", ALICE.did, Code.FIELD_UNKNOWN),
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
