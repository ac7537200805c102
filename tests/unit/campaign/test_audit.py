"""The oracle over an audit log: what a plan contains passes, and every planted write or omission is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from k8s_bridge.accounts import BRIDGE_ACCOUNT, scope_account, user_of
from ledger.types import JsonObject
from tests.campaign import audit
from tests.campaign.audit import Signed, Verdict, judge
from tests.campaign.audit_log import lines_of, planned_of, writes_of
from tests.support.manifests import config_map, deployment

BRIDGE, SCOPE = user_of(BRIDGE_ACCOUNT), user_of(scope_account("shop"))
ONE, TWO, WEB = config_map("one"), config_map("two"), deployment("web")
IDS = {"one": "v1/ConfigMap/shop/one", "two": "v1/ConfigMap/shop/two", "web": "apps/v1/Deployment/shop/web"}
REVISION = Signed({IDS["one"]: ONE, IDS["web"]: WEB}, SCOPE)
KINDS = {
    ("", "configmaps"): "ConfigMap",
    ("apps", "deployments"): "Deployment",
    ("", "namespaces"): "Namespace",
}
SHOP = "/api/v1/namespaces/shop/configmaps"
OWN = "/api/v1/namespaces/conclave-system/configmaps/conclave-inventory-shop"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/conclave-system/leases/conclave-bridge"


def _log(second: float, event: str, **fields: Any) -> JsonObject:
    return {"ts": f"2030-01-01T00:00:{second:06.3f}Z", "event": event, **fields}


def _planned(second: float, plan: int, action: str, name: str, uid: str = "") -> JsonObject:
    about = {"plan": plan, "release": "shop", "revision": 3, "action": action, "object": IDS[name]}
    bound = {"uid": uid, "version": "", "takeover": action == "configure"}
    return _log(second, "step planned", **about, **bound)


def _done(second: float, plan: int, name: str, outcome: str) -> JsonObject:
    return _log(second, "step done", plan=plan, object=IDS[name], outcome=outcome, code=0)


def _bound(manifest: JsonObject, **conditions: str) -> JsonObject:
    return {**manifest, "metadata": {**manifest["metadata"], **conditions}}


_COUNT = iter(range(10**6))


def _sent(second: float, verb: str, path: str, body: Any = None, **changed: Any) -> JsonObject:
    """Make an audit event; ``changed``: status, query, stage, actor."""
    parts = path.strip("/").split("/")
    group = parts[1] if parts[0] == "apis" else ""
    rest = parts[3 if group else 2 :]
    of = dict(zip(("namespace", "resource", "name", "subresource"), rest[1:], strict=False))
    query = changed.get("query", "fieldManager=conclave&force=True" if verb == "patch" else "")
    event: JsonObject = {
        "auditID": f"{next(_COUNT)}",
        "stage": changed.get("stage", "ResponseComplete"),
        "verb": verb,
        "requestURI": f"{path}?{query}",
        "user": {"username": changed.get("user", BRIDGE)},
        "objectRef": of | ({"apiGroup": group} if group else {}),
        "requestReceivedTimestamp": f"2030-01-01T00:00:{second:09.6f}Z",
    }
    if event["stage"] != "RequestReceived":
        event |= {"responseStatus": {"code": changed.get("status", 200)}}
        event |= {"requestObject": body} if body is not None else {}
        actor = changed.get("actor", BRIDGE if "conclave-system" in path else SCOPE)
        event |= {"impersonatedUser": {"username": actor}} if actor != BRIDGE else {}
    return event


def _delete(uid: str) -> JsonObject:
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}


_WEB = "/apis/apps/v1/namespaces/shop/deployments/web"
_RECORD = [
    {"op": "replace", "path": f"/metadata/{name}", "value": ""}
    for name in ("managedFields", "resourceVersion")
]


class Case:
    """A log and an audit log that agree: one created, one taken over and configured, one deleted."""

    def __init__(self) -> None:
        self.log = [
            _log(0, "bridge started"),
            _planned(1, 1, "create", "one"),
            _planned(1, 1, "configure", "web", "u-web"),
            _planned(1, 1, "delete", "two", "u-two"),
            _done(2, 1, "one", "created"),
            _done(2, 1, "web", "configured"),
            _done(2, 1, "two", "deleted"),
        ]
        self.events = [
            _sent(0.5, "update", LEASE, {"metadata": {"name": "conclave-bridge"}}),
            _sent(0.9, "patch", f"{SHOP}/one", ONE, query="dryRun=All&force=True"),
            _sent(1.1, "patch", OWN, {"metadata": {"name": "conclave-inventory-shop"}}),
            _sent(1.2, "patch", f"{SHOP}/one", _bound(ONE, resourceVersion="1"), status=201),
            _sent(1.3, "patch", _WEB, _RECORD, query="fieldManager=conclave"),
            _sent(1.4, "patch", _WEB, _bound(WEB, uid="u-web")),
            _sent(1.5, "delete", f"{SHOP}/two", _delete("u-two")),
        ]

    def judge(self) -> Verdict:
        writes = writes_of(self.events, frozenset({BRIDGE, SCOPE}))
        return judge(writes, planned_of("first", self.log), KINDS, {("shop", 3): REVISION}, BRIDGE)


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.mark.requires("campaign.bridge-audit")
def test_what_was_planned_and_sent_holds(case: Case) -> None:
    verdict = case.judge()
    assert verdict.holds, (verdict.unplanned, verdict.unsent)
    assert (verdict.writes, verdict.planned, verdict.done) == (6, 3, 3)
    assert verdict.own == {"lease": 1, "inventory": 1}


PLANTED: dict[str, tuple[JsonObject, str]] = {
    "another object": (_sent(1.5, "patch", f"{SHOP}/three", _bound(ONE, resourceVersion="1")), audit.NONE),
    "another kind": (_sent(1.5, "delete", "/api/v1/namespaces/shop/secrets/one", _delete("u")), audit.NONE),
    "another namespace": (
        _sent(1.5, "delete", "/api/v1/namespaces/x/configmaps/two", _delete("u-two")), audit.NONE),
    "another verb": (_sent(1.5, "update", f"{SHOP}/one", ONE), audit.NONE),
    "a collection": (_sent(1.5, "deletecollection", SHOP), audit.NONE),
    "a subresource": (_sent(1.5, "patch", f"{SHOP}/one/status", ONE), audit.NONE),
    "once more": (_sent(1.6, "patch", f"{SHOP}/one", _bound(ONE, resourceVersion="1")), audit.TWICE),
    "too early": (_sent(0.8, "patch", f"{SHOP}/one", _bound(ONE, resourceVersion="1")), audit.TIME),
    "too late": (_sent(2.2, "delete", f"{SHOP}/two", _delete("u-two")), audit.TIME),
    "a delete of what is to be made": (_sent(1.5, "delete", f"{SHOP}/one", _delete("u")), audit.STEP),
    "somebody's write beside the records": (
        _sent(1.5, "patch", "/api/v1/namespaces/conclave-system/configmaps/other", ONE), audit.NONE),
    "another lease": (_sent(1.5, "update", f"{LEASE}-2", {"metadata": {"name": "x"}}), audit.NONE),
    "a record that is deleted": (_sent(1.5, "delete", OWN, _delete("u")), audit.NONE),
    "what was refused": (_sent(1.5, "delete", f"{SHOP}/three", _delete("u"), status=403), audit.NONE),
    "what the server died with": (_sent(1.5, "delete", f"{SHOP}/three", stage="RequestReceived"), audit.NONE),
}  # fmt: skip


@pytest.mark.requires("campaign.bridge-audit")
@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_write_is_named(case: Case, what: str) -> None:
    event, reason = PLANTED[what]
    case.events.append(event)
    verdict = case.judge()
    assert not verdict.holds
    assert [said.rpartition(": ")[2] for said in verdict.unplanned] == [reason]
    assert verdict.unsent == []


def _body(index: int, change: Callable[[Any], Any]) -> Callable[[Case], None]:
    def altered(case: Case) -> None:
        case.events[index]["requestObject"] = change(copy.deepcopy(case.events[index]["requestObject"]))

    return altered


def _as(index: int, user: str) -> Callable[[Case], None]:
    return lambda case: case.events[index].update(impersonatedUser={"username": user})


ALTERED: dict[str, tuple[Callable[[Case], None], str]] = {
    "a field that was not signed": (_body(3, lambda body: {**body, "immutable": True}), audit.SIGNED),
    "no body where there was one": (_body(3, lambda body: None), audit.SIGNED),
    "over what may be there": (_body(3, lambda body: ONE), audit.BOUND),
    "to whatever has the name": (_body(5, lambda body: WEB), audit.BOUND),
    "of another object": (_body(6, lambda body: _delete("u-other")), audit.BOUND),
    "of whatever has the name": (_body(6, lambda body: {}), audit.BOUND),
    "more than the record": (
        _body(4, lambda body: [*body, {"op": "add", "path": "/spec/paused", "value": True}]), audit.RECORD),
    "as the bridge itself": (_as(3, BRIDGE), audit.ACTOR),
}  # fmt: skip


@pytest.mark.requires("campaign.bridge-audit")
@pytest.mark.parametrize("what", ALTERED)
def test_a_planned_write_that_is_another_one_is_named_and_missed(case: Case, what: str) -> None:
    alter, reason = ALTERED[what]
    alter(case)
    verdict = case.judge()
    assert [said.rpartition(": ")[2] for said in verdict.unplanned] == [reason]
    assert len(verdict.unsent) == 1


@pytest.mark.requires("campaign.bridge-audit")
@pytest.mark.parametrize("index", [3, 4, 5, 6])
def test_a_step_that_is_done_and_was_not_sent_or_was_refused_is_named(case: Case, index: int) -> None:
    event = case.events.pop(index)
    assert len(case.judge().unsent) == 1
    case.events.insert(index, {**event, "responseStatus": {"code": 409}})
    verdict = case.judge()
    assert len(verdict.unsent) == 1
    assert verdict.unplanned == []


@pytest.mark.requires("campaign.bridge-audit")
def test_a_revision_that_was_never_final_is_named(case: Case) -> None:
    for line in case.log:
        line.update(revision=4) if "revision" in line else None
    assert {said.rpartition(": ")[2] for said in case.judge().unplanned} == {audit.FINAL}


@pytest.mark.requires("campaign.bridge-audit")
def test_a_step_that_names_a_version_is_bound_to_it(case: Case) -> None:
    case.log[2]["version"] = "7"
    assert [said.rpartition(": ")[2] for said in case.judge().unplanned] == [audit.BOUND]
    case.events[5]["requestObject"] = _bound(WEB, uid="u-web", resourceVersion="7")
    assert case.judge().holds


@pytest.mark.requires("campaign.bridge-audit")
def test_a_delete_that_was_held_may_not_be_sent(case: Case) -> None:
    case.log[-1] = _done(2, 1, "two", "skipped")
    assert [said.rpartition(": ")[2] for said in case.judge().unplanned] == [audit.STEP]
    del case.events[-1]
    assert case.judge().holds


@pytest.mark.requires("campaign.bridge-audit")
def test_what_was_cut_short_may_have_been_sent_or_not_until_the_next_life(case: Case) -> None:
    case.log = [*case.log[:4], _log(5, "bridge started")]
    assert case.judge().holds
    del case.events[4:6]
    assert case.judge().holds
    del case.events[-1]
    case.events.append(_sent(6, "delete", f"{SHOP}/two", _delete("u-two")))
    assert [said.rpartition(": ")[2] for said in case.judge().unplanned] == [audit.TIME]


@pytest.mark.requires("campaign.bridge-audit")
def test_a_request_that_is_sent_again_on_demand_is_one(case: Case) -> None:
    case.events.insert(3, _sent(1.15, "patch", f"{SHOP}/one", _bound(ONE, resourceVersion="1"), status=429))
    assert case.judge().holds


@pytest.mark.requires("campaign.bridge-audit")
def test_two_stages_of_a_request_are_one_and_one_that_was_never_answered_counts(case: Case) -> None:
    received = {**case.events[3], "stage": "RequestReceived"}
    for name in ("responseStatus", "requestObject", "impersonatedUser"):
        del received[name]
    case.events.insert(3, received)
    assert case.judge().writes == 6
    del case.events[4]
    assert case.judge().holds


@pytest.mark.requires("campaign.bridge-audit")
def test_nothing_at_all_proves_nothing() -> None:
    assert not judge([], [], KINDS, {}, BRIDGE).holds
    assert list(lines_of(["a library says", '{"event": "x"}'])) == [{"event": "x"}]
