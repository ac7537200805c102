"""What an admission policy that comes or goes makes the bridge do, and what it says of foreign writes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from k8s_bridge.admission import Form, Trust, policies
from k8s_bridge.admission_check import ABSENT, CHANGED, KEYS
from k8s_bridge.drift import Change, Verdict
from k8s_bridge.grants import Holding, needs_of
from k8s_bridge.guard import POLICY, SETTLE_S, Guard
from k8s_bridge.objects import ObjectKey, key_of
from k8s_bridge.settings import Periods
from k8s_bridge.telemetry import Moment, exposition
from ledger.errors import Code, EnvironmentFault
from ledger.types import JsonObject
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.ledger import Ledger
from tests.support.manifests import config_map, namespace_object

GREETING = ObjectKey("v1", "ConfigMap", "guestbook", "greeting")
PRIORITY = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "p"},
    "value": 1,
}


NEEDS = needs_of([Holding("guestbook", "guestbook", (config_map("greeting", "guestbook"), PRIORITY))], {})
SCOPES = frozenset({"guestbook", "kube-system"})
BINDING = "ValidatingAdmissionPolicyBinding/conclave-governed"
GOVERNED = "ValidatingAdmissionPolicy/conclave-governed"
OBJECTS, TOKENS = "ValidatingAdmissionPolicy/conclave-objects", "ValidatingAdmissionPolicy/conclave-tokens"
VOID, NARROW = {"expression": "true"}, {"objectSelector": {"matchLabels": {"a": "b"}}}


Edit = Callable[[dict[ObjectKey, JsonObject]], object]


class Admitting(FakeCluster):
    """A cluster that serves the admission policies that were installed, or none, or does not say."""

    silent = False

    def __init__(self) -> None:
        super().__init__()
        self.admission: dict[ObjectKey, JsonObject] = {}

    def get(self, key: ObjectKey) -> JsonObject | None:
        if key not in KEYS:
            return super().get(key)
        if self.silent:
            raise EnvironmentFault(Code.KUBERNETES_FORBIDDEN, got="403", status=403)
        return self.admission.get(key)

    def admit(self, uid: str, generation: int = 1) -> None:
        """Install what the bridge prints, with what an API server adds to it."""
        for item in copy.deepcopy(policies(NEEDS, Form.API, Trust(users=("mesh",)))):
            item["metadata"] |= {"uid": uid, "generation": generation}
            if "matchConstraints" in item["spec"]:
                item["spec"]["matchConstraints"].setdefault("objectSelector", {})
                item["spec"]["matchConstraints"].setdefault("namespaceSelector", {})
            self.admission[key_of(item)] = item


@pytest.fixture
def cluster() -> Admitting:
    found = Admitting()
    found.put(namespace_object("guestbook"))
    return found


@pytest.mark.requires("bridge.admission-window")
def test_a_policy_that_came_or_changed_is_told_once(cluster: Admitting) -> None:
    guard = Guard(cluster)
    assert (guard.changed(SCOPES), guard.present) == (False, False)
    cluster.admit("one")
    assert (guard.changed(SCOPES), guard.changed(SCOPES), guard.present) == (True, False, True)
    cluster.admit("one", generation=2)
    assert guard.changed(SCOPES)
    cluster.silent = True
    assert (guard.changed(SCOPES), guard.present) == (False, True)


def _told(
    cluster: Admitting,
    edit: Edit,
    caplog: pytest.LogCaptureFixture,
) -> tuple[dict[str, str], list[str]]:
    """Install, edit, look; gives what is wrong, and what was said aloud; then mend it and look again."""
    guard = Guard(cluster)
    cluster.admit("one")
    guard.changed(SCOPES)
    assert guard.account() == {
        "seen": True, "wrong": {}, "error": None,
        "letThrough": ["mesh", "system:serviceaccount:conclave-system:conclave-bridge"],
    }  # fmt: skip
    edit(cluster.admission)
    with caplog.at_level(logging.WARNING, "bridge"):
        guard.changed(SCOPES)
        guard.changed(SCOPES)
    wrong: dict[str, str] = guard.account()["wrong"]
    cluster.admit("two")
    assert guard.changed(SCOPES)
    assert guard.account()["wrong"] == {}
    return wrong, [record.getMessage() for record in caplog.records]


def _key(name: str) -> ObjectKey:
    return next(key for key in KEYS if f"{key.kind}/{key.name}" == name)


def _spec(found: dict[ObjectKey, JsonObject], name: str) -> JsonObject:
    spec: JsonObject = found[_key(name)]["spec"]
    return spec


EDITS: dict[str, tuple[str, str, Edit]] = {
    "binding deleted": (BINDING, ABSENT, lambda f: f.pop(_key(BINDING))),
    "policy deleted": (GOVERNED, ABSENT, lambda f: f.pop(POLICY)),
    "expression": (GOVERNED, CHANGED, lambda f: _spec(f, GOVERNED)["validations"][0].update(VOID)),
    "no validation": (GOVERNED, CHANGED, lambda f: _spec(f, GOVERNED).update(validations=[])),
    "condition": (GOVERNED, CHANGED, lambda f: _spec(f, GOVERNED).update(matchConditions=[{"name": "n"}])),
    "ignores": (GOVERNED, CHANGED, lambda f: _spec(f, GOVERNED).update(failurePolicy="Ignore")),
    "no spec": (OBJECTS, CHANGED, lambda f: f[_key(OBJECTS)].update(spec="none")),
    "only audits": (BINDING, CHANGED, lambda f: _spec(f, BINDING).update(validationActions=["Audit"])),
    "narrowed": (BINDING, CHANGED, lambda f: _spec(f, BINDING).update(matchResources=NARROW)),
    "another's": (
        OBJECTS, CHANGED,
        lambda f: _spec(f, OBJECTS)["variables"][7].update(VOID),
    ),
    "tokens": (
        TOKENS, CHANGED,
        lambda f: _spec(f, TOKENS)["matchConstraints"].update(resourceRules=[]),
    ),
    "a namespace let go": (
        "Namespace/guestbook", "not covered",
        lambda f: _spec(f, GOVERNED)["matchConstraints"]["namespaceSelector"]["matchExpressions"][0].update(
            values=["elsewhere"]
        ),
    ),
}  # fmt: skip


@pytest.mark.requires("bridge.admission-watched")
@pytest.mark.parametrize("edit", EDITS)
def test_a_policy_or_binding_that_went_or_was_edited_is_said_aloud(
    cluster: Admitting, caplog: pytest.LogCaptureFixture, edit: str
) -> None:
    name, problem, change = EDITS[edit]
    assert _told(cluster, change, caplog) == ({name: problem}, ["admission not as printed"])


@pytest.mark.requires("bridge.admission-watched")
def test_where_all_went_all_is_missed_and_where_none_ever_was_nothing(
    cluster: Admitting, caplog: pytest.LogCaptureFixture
) -> None:
    never = Guard(cluster)
    never.changed(SCOPES)
    assert (never.account()["seen"], never.account()["wrong"]) == (False, {})
    wrong, said = _told(cluster, lambda found: found.clear(), caplog)
    assert wrong == {f"{key.kind}/{key.name}": ABSENT for key in KEYS}
    assert said == ["admission not as printed"]


@pytest.mark.requires("bridge.admission-watched")
def test_it_stands_in_the_account_and_in_the_metrics(cluster: Admitting, tmp_path: Path) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path, Periods(reach_s=1, staleness_s=3600))
    bridge.ledger.release("hello")
    bridge.ledger.commit()
    line = "conclave_bridge_admission_intact"
    assert line not in exposition(Moment(bridge.turn(), 0.0, 0.0))
    cluster.admit("one")
    assert f"{line} 1\n" in exposition(Moment(bridge.turn(2), 0.0, 0.0))
    del cluster.admission[POLICY]
    account = bridge.turn(2)
    assert account["admission"]["wrong"] == {GOVERNED: ABSENT}
    assert f"{line} 0\n" in exposition(Moment(account, 0.0, 0.0))
    cluster.silent = True
    account = bridge.turn(2)
    assert account["admission"]["error"]["code"] == Code.KUBERNETES_FORBIDDEN
    assert line not in exposition(Moment(account, 0.0, 0.0))


@pytest.mark.requires("bridge.admission-window")
def test_everything_is_looked_at_again_after_a_policy_came(cluster: Admitting, tmp_path: Path) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path, Periods(resync_s=3000, reach_s=1, staleness_s=3600))
    bridge.ledger.release("hello")
    bridge.ledger.commit()
    bridge.turn()
    cluster.remove(GREETING)
    for _ in range(5):
        bridge.turn(1)
    assert GREETING.identity not in cluster.objects
    cluster.admit("one")
    bridge.turn(1)
    bridge.turn(SETTLE_S)
    assert GREETING.identity in cluster.objects


@pytest.mark.requires("bridge.break-glass-loud")
def test_a_foreign_write_is_told_and_counted_and_our_own_is_not(
    cluster: Admitting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = Bridge(Ledger(), cluster, tmp_path)
    with caplog.at_level(logging.WARNING, "bridge"):
        for text in ("hello", "again"):
            bridge.ledger.release(text)
            bridge.ledger.commit()
            assert bridge.turn()["releases"]["guestbook"]["undone"] == 0
        assert not caplog.records
        edited = copy.deepcopy(cluster.objects[GREETING.identity])
        edited["data"]["text"] = "by hand"
        cluster.put(edited)
        bridge.bell.ring(Verdict("guestbook", GREETING, Change.DRIFT))
        assert bridge.turn()["releases"]["guestbook"]["undone"] == 1
    told = [record for record in caplog.records if record.getMessage() == "foreign write undone"]
    assert len(told) == 1
    assert str(GREETING) in str(told[0].__dict__)
