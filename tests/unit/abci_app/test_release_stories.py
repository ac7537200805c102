"""Rollouts as the machine lives them: waves, failures, rollbacks, freezes, scale, the end of a release."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from abci_app import indexes
from ledger import actions, autoscale, bodies, records, rollout, standard, statekeys
from ledger.errors import Code
from ledger.records import (
    DesiredState,
    IncidentKind,
    IncidentRecord,
    MetricRecord,
    ReleaseState,
    RevisionRecord,
)
from ledger.rollout import RolloutState
from ledger.types import ActionKind, JsonObject
from tests.support.subjects import AGENT, ALICE, BOB, NODE, OTHER_NODE, Subject, configmap, release
from tests.unit.abci_app.test_governance import Story

BOTH = ("east", "west")
WAVES: dict[str, Any] = {"rollout": {"waves": [{"clusters": ["east"]}], "progressDeadlineSeconds": 100}}
OBJECT = "v1/ConfigMap/demo/settings"


class Rollouts(Story):
    """A ledger whose bridges speak."""

    def __init__(self) -> None:
        super().__init__()
        self.sequences = {"east": 0, "west": 0}

    def release(self, text: str = "1", clusters: tuple[str, ...] = BOTH, **spec: Any) -> int:
        """Release ``web``; give its revision."""
        wanted = release(clusters=clusters, manifests=[configmap("settings", text)])
        wanted["spec"] |= spec
        tx = self.pass_(bodies.release_body(wanted))
        revision = self.record(tx).revision
        assert revision is not None
        return revision

    def report(self, cluster: str, revision: int, health: str = "current", **more: Any) -> Code:
        """Report; give the code."""
        self.sequences[cluster] += 1
        outcome = more.pop("outcome", "applied")
        done = more.pop("done", "created")
        item = {"object": OBJECT, "outcome": done, "health": health, "code": 0}
        said = actions.Report(
            cluster, "web", revision, self.sequences[cluster], outcome, health, (item,), **more
        )
        node: Subject = NODE if cluster == "east" else OTHER_NODE
        (code,) = self.codes(self.pen.write(node, bodies.report_body(said)))
        return code

    def healthy(self, revision: int) -> None:
        """Let both clusters report health."""
        assert [self.report(cluster, revision) for cluster in BOTH] == [Code.OK] * 2

    def at(self, time: int) -> None:
        """Let an empty block pass at ``time``."""
        self.state.time = time
        self.state.apply([])

    def desired(self, cluster: str) -> int | None:
        """Give the revision a cluster shall have."""
        content = self.state.get(statekeys.desired(cluster, "web"))
        return None if content is None else records.read_desired(content).revision

    @property
    def rollout(self) -> rollout.RolloutRecord:
        """The newest rollout."""
        return rollout.read(self.state.content[statekeys.rollout("web")])

    @property
    def web(self) -> records.ReleaseRecord:
        """The release."""
        return records.read_release(self.state.content[statekeys.release("web")])

    def revision(self, number: int) -> RevisionRecord:
        """Give a revision."""
        return records.read_revision(self.state.content[statekeys.revision("web", number)])

    @property
    def incidents(self) -> list[IncidentRecord]:
        """All incidents."""
        count = records.read_count(self.state.get(statekeys.INCIDENTS))
        keys = map(statekeys.incident, range(1, count + 1))
        return [records.read_incident(self.state.content[key]) for key in keys]

    def act(self, who: Subject, body: bytes) -> Code:
        """Say something; give the code."""
        (code,) = self.codes(self.pen.write(who, body))
        return code


@pytest.mark.requires("abci.waves")
def test_a_wave_starts_when_the_one_before_is_healthy() -> None:
    story = Rollouts()
    story.release(**WAVES)
    assert (story.desired("east"), story.desired("west")) == (1, None)
    story.report("east", 1, "in_progress")
    assert story.desired("west") is None
    story.report("east", 1)
    assert (story.desired("west"), story.web.healthy) == (1, None)
    story.report("west", 1)
    assert (story.rollout.state, story.web.healthy) == (RolloutState.COMPLETE, 1)
    assert indexes.count(story.state, statekeys.INDEX_ROLLOUTS) == 0
    assert indexes.count(story.state, statekeys.AGENDA) == 0


@pytest.mark.requires("abci.waves")
def test_targets_by_label_are_resolved_when_executed_and_never_dropped() -> None:
    story = Rollouts()
    for name, zone in (("east", "a"), ("west", "b")):
        story.configure(standard.ledger_object("Cluster", name, {}, {"zone": zone}))
    wanted = release(manifests=[configmap("settings")])
    del wanted["spec"]["clusters"]
    wanted["spec"]["selector"] = {"matchLabels": {"zone": "a"}}
    story.pass_(bodies.release_body(wanted))
    assert "west" not in story.web.clusters
    story.configure(standard.ledger_object("Cluster", "west", {}, {"zone": "a"}))
    story.configure(standard.ledger_object("Cluster", "east", {}, {"zone": "b"}))
    story.pass_(bodies.release_body(wanted))
    assert story.web.clusters == BOTH
    wanted["spec"]["selector"] = {"matchLabels": {"zone": "z"}}
    wanted["metadata"]["name"] = "other"
    assert story.act(ALICE, bodies.release_body(wanted)) is Code.TARGETS_EMPTY


@pytest.mark.requires("abci.rollback")
def test_a_failure_rolls_back_everywhere_to_the_last_healthy_revision() -> None:
    story = Rollouts()
    story.release("good", **WAVES)
    story.healthy(1)
    story.release("bad", **WAVES)
    assert (story.desired("east"), story.desired("west")) == (2, 1)
    story.report("east", 2, "failed")
    assert (story.web.revision, story.web.healthy) == (3, 1)
    assert (story.desired("east"), story.desired("west")) == (3, 3)
    back, good = story.revision(3), story.revision(1)
    assert (back.content, back.authority, back.rollback_of, back.cause) == (
        good.content, good.authority, 1, 1,
    )  # fmt: skip
    (incident,) = story.incidents
    assert (incident.kind, incident.revision, incident.new_revision, incident.cluster) == (
        IncidentKind.ROLLBACK, 2, 3, "east",
    )  # fmt: skip
    story.healthy(3)
    assert story.web.healthy == 3


@pytest.mark.requires("abci.rollback")
def test_a_deadline_that_passes_is_a_failure() -> None:
    story = Rollouts()
    story.release("good", **WAVES)
    story.healthy(1)
    story.state.time = 50
    story.release("slow", **WAVES)
    story.at(149)
    assert story.web.revision == 2
    story.at(150)
    assert story.web.revision == 3
    assert story.incidents[0].reason == "progress deadline passed"


@pytest.mark.requires("abci.rollback")
def test_a_release_that_was_never_healthy_stays_where_it_is_and_goes_nowhere_else() -> None:
    story = Rollouts()
    story.release(**WAVES)
    story.report("east", 1, "failed")
    assert story.rollout.state is RolloutState.FAILED
    assert (story.web.revision, story.desired("east"), story.desired("west")) == (1, 1, None)
    assert [i.kind for i in story.incidents] == [IncidentKind.ROLLOUT_FAILED]
    story.report("east", 1)
    assert story.desired("west") is None
    assert len(story.incidents) == 1


@pytest.mark.requires("abci.no-flapping")
def test_automatic_rollbacks_are_bounded_then_the_release_is_frozen() -> None:
    story = Rollouts()
    story.release("good")
    story.healthy(1)
    for number in range(3):
        revision = story.release(f"bad {number}")
        story.report("east", revision, "failed")
        assert story.web.revision == revision + 1
        story.healthy(revision + 1)
    revision = story.release("bad again")
    story.report("east", revision, "failed")
    assert story.web.revision == revision
    assert story.incidents[-1].kind is IncidentKind.RELEASE_FROZEN
    (freeze,) = records.read_freezes(story.state.content[statekeys.FREEZES]).freezes
    assert (freeze.by, freeze.releases) == ("machine", ("web",))
    held = story.pass_(bodies.release_body(release(clusters=BOTH)))
    assert story.record(held).state == "approved"
    story.configure(remove=[("Freeze", freeze.name)])
    story.at(0)
    assert story.record(held).state == "final"


@pytest.mark.requires("abci.no-flapping")
def test_a_rollback_that_fails_itself_freezes_the_release() -> None:
    story = Rollouts()
    story.release("good")
    story.healthy(1)
    story.release("bad")
    story.report("east", 2, "failed")
    story.report("west", 3, "failed")
    assert story.web.revision == 3
    assert [i.kind for i in story.incidents] == [IncidentKind.ROLLBACK, IncidentKind.RELEASE_FROZEN]


@pytest.mark.requires("abci.freeze")
def test_one_person_freezes_and_the_quorum_unfreezes() -> None:
    story = Rollouts()
    story.release(**WAVES)
    assert story.act(AGENT, bodies.freeze_body("stop")) is Code.VERB_NOT_ALLOWED
    assert story.act(BOB, bodies.freeze_body("stop", clusters=("west",))) is Code.OK
    assert story.act(BOB, bodies.freeze_body("stop")) is Code.OBJECT_DUPLICATE
    assert story.rollout.paused_by == "freeze/stop"
    story.report("east", 1)
    assert story.desired("west") is None
    assert story.act(ALICE, bodies.hold_body(ActionKind.RESUME, "web")) is Code.ROLLOUT_STATE_CONFLICT
    story.at(10_000)
    story.configure(remove=[("Freeze", "stop")])
    assert (story.desired("west"), story.web.revision) == (1, 1)
    assert story.rollout.state is RolloutState.PROGRESSING


@pytest.mark.requires("abci.freeze")
def test_what_is_approved_while_frozen_waits_and_expires_with_its_proposal() -> None:
    story = Rollouts()
    story.act(ALICE, bodies.freeze_body("stop", namespaces=("demo",)))
    waiting = story.pass_(bodies.release_body(release()))
    assert story.record(waiting).state == "approved"
    story.at(60)
    assert story.record(waiting).state == "approved"
    story.state.height = story.record(waiting).expires
    story.at(120)
    assert story.record(waiting).state == "expired"
    assert story.state.get(statekeys.release("web")) is None


@pytest.mark.requires("abci.pause")
def test_a_pause_stops_starts_and_clocks_until_it_is_resumed() -> None:
    story = Rollouts()
    story.release(**WAVES)

    def hold(kind: ActionKind) -> Code:
        return story.act(BOB, bodies.hold_body(kind, "web"))

    assert hold(ActionKind.RESUME) is Code.ROLLOUT_STATE_CONFLICT
    assert hold(ActionKind.PAUSE) is Code.OK
    assert hold(ActionKind.PAUSE) is Code.ROLLOUT_STATE_CONFLICT
    story.report("east", 1)
    story.at(1000)
    assert (story.desired("west"), story.web.revision) == (None, 1)
    assert hold(ActionKind.RESUME) is Code.OK
    assert story.desired("west") == 1
    story.at(1099)
    assert story.rollout.state is RolloutState.PROGRESSING
    unknown = bodies.hold_body(ActionKind.PAUSE, "none")
    assert story.act(BOB, unknown) is Code.RELEASE_UNKNOWN


@pytest.mark.requires("abci.withdraw")
def test_a_withdrawn_release_stays_where_it_is() -> None:
    story = Rollouts()
    story.release(**WAVES)
    story.pass_(bodies.withdraw_body("web"))
    assert (story.web.state, story.rollout.state) == (ReleaseState.WITHDRAWN, RolloutState.WITHDRAWN)
    story.report("east", 1)
    assert (story.desired("east"), story.desired("west")) == (1, None)
    assert story.release(**WAVES) == 2
    assert story.web.state is ReleaseState.ACTIVE


@pytest.mark.requires("abci.delete")
@pytest.mark.parametrize("prune", [True, False])
def test_a_deleted_release_leaves_each_cluster_when_its_bridge_says_so(*, prune: bool) -> None:
    story = Rollouts()
    story.release()
    story.healthy(1)
    story.pass_(bodies.delete_body("web", prune=prune))
    gone = records.read_desired(story.state.content[statekeys.desired("east", "web")])
    assert (gone.state, gone.prune, gone.revision) == (DesiredState.DELETED, prune, 1)
    done = "deleted" if prune else "skipped"
    assert story.report("east", 1, outcome="partial", done=done) is Code.OK
    assert story.desired("east") == 1
    assert story.report("east", 1, done="unchanged") is Code.OK, "made before the deletion, and late"
    assert story.desired("east") == 1
    assert story.report("east", 1, done=done) is Code.OK
    assert (story.desired("east"), story.desired("west")) == (None, 1)
    assert not indexes.contains(story.state, statekeys.cluster_releases("east"), "web")
    assert story.act(ALICE, bodies.rollback_body("web", 1)) is Code.RELEASE_NOT_ACTIVE
    assert story.act(ALICE, bodies.delete_body("web", prune=True)) is Code.RELEASE_NOT_ACTIVE
    assert story.release("again", ("west",)) == 2


RULE: JsonObject = {
    "object": "apps/v1/Deployment/demo/web",
    "minReplicas": 1,
    "maxReplicas": 8,
    "initialReplicas": 2,
    "metrics": [{"name": "cpu", "target": 50}],
    "scaleDown": {"stabilizationSeconds": 0},
}


@pytest.mark.requires("abci.autoscale")
def test_replicas_follow_reported_metrics_within_the_signed_bounds() -> None:
    story = Rollouts()
    story.release(autoscale=[RULE])
    metric = MetricRecord(RULE["object"], "cpu", 100, 2)

    def replicas() -> int:
        content = story.state.content[statekeys.scale("east", "web")]
        (scale,) = autoscale.read(content).objects
        return scale.replicas

    story.report("east", 1, metrics=(metric,))
    assert replicas() == 4
    assert story.state.result is not None
    events = [e for e in story.state.result.results[0].events if e.kind == "conclave.scale"]
    assert dict(events[0].attributes)["medians"] == "cpu=100"
    story.at(100)
    story.report("east", 1)
    assert replicas() == 4
    story.report("east", 1, metrics=(dataclasses.replace(metric, value=10_000, replicas=4),))
    assert replicas() == 8
    assert statekeys.scale("west", "web") not in story.state.content
    story.release("plain")
    story.report("east", 2)
    assert statekeys.scale("east", "web") not in story.state.content


@pytest.mark.requires("abci.report-rules")
def test_a_report_on_another_revision_is_kept_and_moves_nothing() -> None:
    story = Rollouts()
    story.release("1", **WAVES)
    story.release("2", **WAVES)
    assert story.report("east", 1, "failed") is Code.OK
    assert (story.rollout.state, story.web.revision) == (RolloutState.PROGRESSING, 2)
    story.sequences["east"] = 0
    assert story.report("east", 2) is Code.REPORT_SEQUENCE_STALE


@pytest.mark.requires("releases.stuck")
@pytest.mark.parametrize("threshold", [2, 5])
def test_the_machine_rolls_back_although_a_threshold_is_out_of_reach(threshold: int) -> None:
    story = Rollouts()
    story.release()
    story.healthy(1)
    story.release("2", rollout={"failureThreshold": threshold, "progressDeadlineSeconds": 100})
    story.report("east", 2)
    assert (story.desired("east"), story.desired("west")) == (2, 2)
    story.at(story.state.time + 1000)
    assert (story.desired("east"), story.desired("west")) == (3, 3)
    assert story.incidents[-1].kind is IncidentKind.ROLLBACK


@pytest.mark.requires("abci.freeze-share")
def test_a_machine_that_has_no_freeze_left_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Rollouts()
    story.release()
    story.healthy(1)
    story.release("2")
    monkeypatch.setattr("abci_app.machine.progress.FREEZES_MAX", 0)
    story.report("east", 2, "failed")
    story.report("east", 3, "failed")
    told = story.incidents[-1]
    assert (told.kind, "not frozen" in told.reason) == (IncidentKind.ROLLOUT_FAILED, True)


@pytest.mark.requires("abci.freeze-ends")
def test_a_rollback_that_a_freeze_held_up_goes_on_when_it_is_lifted() -> None:
    story = Rollouts()
    story.release()
    story.healthy(1)
    story.release("2")
    assert story.act(BOB, bodies.freeze_body("stop", clusters=("west",))) is Code.OK
    story.report("east", 2, "failed")
    assert (story.desired("east"), story.desired("west")) == (3, 2)
    story.configure(remove=[("Freeze", "stop")])
    assert (story.desired("east"), story.desired("west")) == (3, 3)


@pytest.mark.requires("abci.freeze-ends")
def test_a_wave_that_a_freeze_held_up_starts_when_it_is_lifted() -> None:
    story = Rollouts()
    story.release(**WAVES)
    assert story.act(ALICE, bodies.hold_body(ActionKind.PAUSE, "web")) is Code.OK
    assert story.act(BOB, bodies.freeze_body("stop", clusters=("west",))) is Code.OK
    assert story.act(ALICE, bodies.hold_body(ActionKind.RESUME, "web")) is Code.OK
    story.report("east", 1)
    assert (story.rollout.state, story.desired("west")) == (RolloutState.PROGRESSING, None)
    story.configure(remove=[("Freeze", "stop")])
    assert story.desired("west") == 1


@pytest.mark.requires("abci.rollback")
def test_a_rollback_brings_the_release_to_no_new_cluster() -> None:
    story = Rollouts()
    story.release("good", ("east",))
    story.report("east", 1)
    story.release("bad", BOTH, **WAVES)
    story.report("east", 2, "failed")
    assert (story.desired("east"), story.desired("west"), story.web.revision) == (3, None, 3)


@pytest.mark.requires("abci.delete")
def test_a_release_can_come_back_while_a_cluster_still_deletes_it() -> None:
    story = Rollouts()
    story.release()
    story.healthy(1)
    story.pass_(bodies.delete_body("web", prune=True))
    story.release("again", BOTH, **WAVES)
    west = statekeys.cluster_releases("west")
    assert story.report("west", 1, done="deleted") is Code.OK
    assert not indexes.contains(story.state, west, "web")
    story.report("east", 2)
    assert (story.desired("west"), indexes.contains(story.state, west, "web")) == (2, True)


@pytest.mark.requires("abci.delete")
def test_a_cluster_a_new_release_leaves_out_can_still_report_its_deletion() -> None:
    story = Rollouts()
    story.release(**WAVES)
    story.report("east", 1)
    story.pass_(bodies.delete_body("web", prune=True))
    story.release("again", ("east",))
    assert story.report("west", 1, done="deleted") is Code.OK
    assert story.desired("west") is None
