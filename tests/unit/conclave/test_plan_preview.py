"""``conclave diff --plan``: what is printed before is what the bridge then does, in that order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from conclave import plan_preview
from conclave.plan_text import masked
from k8s_bridge.objects import key_of
from k8s_bridge.settings import Periods
from k8s_bridge.trail import PLANNED
from ledger.types import JsonObject
from tests.support.bridge import Bridge
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.unit.conclave.desk import Desk

SHOP = [namespace_object(), config_map("settings"), service("web"), deployment("web")]
SECRET: JsonObject = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "shop"},
    "data": {"same": "c2FtZQ==", "other": "b25l", "gone": "Z29uZQ=="},
}
Done = list[tuple[str, str]]


class Site:
    """A cluster, its bridge, and somebody at the desk who may read it."""

    def __init__(self, desk: Desk, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.desk, self.cluster, self._caplog = desk, FakeCluster(), caplog
        self.bridge = Bridge(desk.ledger, self.cluster, folder)

    def propose(self, *manifests: JsonObject) -> str:
        """Propose the release; give the proposal's number."""
        path = self.desk.write("shop/all.yaml", *manifests)
        return str(self.desk.run("propose", str(path.parent), "--cluster=east", "--as=alice")["number"])

    def approve(self, number: str) -> None:
        """Have it approved."""
        self.desk.run("approve", number, "--as=bob")
        self.desk.run("approve", number, "--as=carol")

    def preview(self, source: str, *arguments: str) -> JsonObject:
        """Ask what the bridge would do; nothing may be written by that."""
        before = list(self.cluster.writes)
        found = self.desk.run("diff", source, "--plan=east", *arguments)
        assert self.cluster.writes == before
        return found

    def carry_out(self) -> Done:
        """Let the bridge do what it does; give the writing steps of its plan, in order."""
        self._caplog.clear()
        with self._caplog.at_level(logging.INFO, "bridge.plan"):
            self.bridge.turn()
        said = [getattr(r, "fields", {}) for r in self._caplog.records if r.getMessage() == PLANNED]
        return [(step["action"], step["object"]) for step in said]


@pytest.fixture
def site(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Site:
    found = Site(desk, tmp_path, caplog)
    monkeypatch.setattr(found.cluster, "close", lambda: None, raising=False)
    monkeypatch.setattr(plan_preview, "connect", lambda *_: SimpleNamespace(server="https://east"))
    monkeypatch.setattr(plan_preview, "KubernetesClient", lambda _: found.cluster)
    monkeypatch.setenv("KUBECONFIG", "mine")
    return found


def writing(answer: JsonObject) -> Done:
    written = {"create", "configure", "recreate", "delete"}
    return [(step["action"], step["object"]) for step in answer["steps"] if step["action"] in written]


def step_of(answer: JsonObject, kind: str) -> JsonObject:
    found: JsonObject = next(s for s in answer["steps"] if f"/{kind}/" in s["object"])
    return found


@pytest.mark.requires("cli.diff-plan")
def test_what_is_printed_before_is_what_the_bridge_then_does_in_that_order(site: Site) -> None:
    first = [*SHOP, definition(), widget("one")]
    number = site.propose(*first)
    before = writing(site.preview(f"proposal/{number}"))
    assert [done[1].split("/")[-3] for done in before[:2]] == ["Namespace", "CustomResourceDefinition"]
    assert len(before) == len(first)
    site.approve(number)
    assert writing(site.preview("release/shop")) == before
    assert site.carry_out() == before
    assert writing(site.preview("release/shop")) == site.carry_out() == []
    upgrade = [namespace_object(), config_map("settings", key="new"), deployment("web")]
    path = site.desk.write("shop/all.yaml", *upgrade)
    after = writing(site.preview(str(path.parent), "--cluster=east"))
    assert [action for action, _ in after] == ["configure", "delete", "delete", "delete"]
    number = site.propose(*upgrade)
    assert writing(site.preview(f"proposal/{number}")) == after
    site.approve(number)
    assert site.carry_out() == after
    site.desk.run("delete", "shop", "--prune", "--as=alice")
    end = writing(site.preview("proposal/3"))
    assert len(end) == 3
    site.approve("3")
    assert writing(site.preview("release/shop")) == end
    assert site.carry_out() == end
    assert site.cluster.content() == {}


@pytest.mark.requires("cli.diff-plan")
def test_what_others_wrote_and_what_holds_a_step_back_is_shown(site: Site) -> None:
    site.approve(site.propose(*SHOP))
    site.carry_out()
    live = site.cluster.objects[key_of(SHOP[1]).identity]
    site.cluster.put({**live, "data": {"key": "by hand"}})
    found = site.preview("release/shop")
    step = step_of(found, "ConfigMap")
    assert step["action"] == "configure"
    assert step["reason"].endswith("data.key")
    assert "-  key: by hand" in step["diff"]
    shown = site.desk.show("diff", "release/shop", "--plan=east")
    assert "~   2 objects    configure v1/ConfigMap/shop/settings" in shown
    assert "by hand" in shown
    assert "unchanged 3" in shown
    site.bridge.clock.monotonic_s += Periods().resync_s
    site.desk.ledger.commit()
    assert site.carry_out() == writing(found)
    site.cluster.put(config_map("theirs"))
    number = site.propose(*SHOP[:3], config_map("theirs"))
    found = site.preview(f"proposal/{number}")
    blocked = [(s["action"], s["code"]) for s in found["steps"] if s["action"] in {"conflict", "skip"}]
    assert blocked == [("conflict", "OBJECT_NOT_OWNED"), ("skip", None)]
    assert writing(found) == []
    assert "OBJECT_NOT_OWNED" in site.desk.show("diff", f"proposal/{number}", "--plan=east")


@pytest.mark.requires("cli.diff-plan")
def test_a_freeze_and_the_exit_code_are_told(site: Site) -> None:
    number = site.propose(*SHOP)
    assert site.desk.run("diff", f"proposal/{number}", "--plan=east", "--exit-code", status=1)["frozen"] == []
    site.desk.run("freeze", "stop", "--as=bob")
    assert site.preview(f"proposal/{number}")["frozen"] == ["stop"]
    assert "frozen by stop" in site.desk.show("diff", f"proposal/{number}", "--plan=east")


@pytest.mark.requires("cli.diff-plan")
@pytest.mark.parametrize(
    ("arguments", "name", "status"),
    [
        (("release/nothing", "--plan=east"), "RELEASE_UNKNOWN", 1),
        (("proposal/9", "--plan=east"), "PROPOSAL_UNKNOWN", 1),
        (("release/shop", "--plan=north"), "CLUSTER_UNKNOWN", 1),
        (("release/shop", "--plan=west"), "RELEASE_UNKNOWN", 1),
        (("release/shop",), "USAGE", 2),
        (("proposal/2",), "USAGE", 2),
        (("proposal/1", "--plan=east"), "PROPOSAL_NOT_OPEN", 1),
        (("proposal/2", "--plan=east"), "USAGE", 2),
        (("proposal/1", "--impersonate"), "USAGE", 2),
        (("release/shop", "--plan=east", "--cluster=west"), "USAGE", 2),
    ],
)
def test_what_there_is_no_plan_for_is_refused(
    site: Site, arguments: tuple[str, ...], name: str, status: int
) -> None:
    site.approve(site.propose(*SHOP))
    site.desk.run("withdraw", "shop", "--as=alice")
    assert site.desk.refused("diff", *arguments, status=status) == name


@pytest.mark.requires("cli.diff-plan")
def test_a_release_that_is_not_for_the_cluster_has_no_plan_there(site: Site) -> None:
    number = site.propose(*SHOP)
    assert site.desk.refused("diff", f"proposal/{number}", "--plan=west") == "CLUSTER_UNKNOWN"


@pytest.mark.requires("cli.diff-plan")
def test_without_a_kubeconfig_it_says_which_one_is_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = site.propose(*SHOP)
    monkeypatch.delenv("KUBECONFIG")
    assert site.desk.refused("diff", f"proposal/{number}", "--plan=east", status=4) == "KUBECONFIG_INVALID"


@pytest.mark.requires("cli.diff-plan")
def test_a_proposal_is_compared_with_the_ledger_without_a_cluster(site: Site) -> None:
    number = site.propose(*SHOP)
    assert [c["change"] for c in site.desk.run("diff", f"proposal/{number}")["changes"]] == ["added"] * 4


@pytest.mark.requires("cli.diff-plan-masked")
def test_no_value_of_a_secret_is_shown_only_whether_it_changes() -> None:
    annotated = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "c2FtZQ==", "a": "b"}}
    before = SECRET | {"metadata": SECRET["metadata"] | annotated}
    after = SECRET | {"data": {"same": "c2FtZQ==", "other": "dHdv", "new": "bmV3"}}
    shown = masked(before, after)
    assert shown[0] is not None
    assert shown[1] is not None
    assert shown[0]["data"] == {"same": "***", "other": "*** (before)", "gone": "***"}
    assert shown[1]["data"] == {"same": "***", "other": "*** (after)", "new": "***"}
    assert shown[0]["metadata"]["annotations"]["a"] == "b"
    for value in ("c2FtZQ==", "b25l", "dHdv", "Z29uZQ==", "bmV3"):
        assert value not in str(shown)
    assert masked(None, SECRET | {"data": "b25l"})[1] == SECRET | {"data": "***"}
    other = config_map("a", key="b25l")
    assert masked(None, other) == (None, other)


@pytest.mark.requires("cli.diff-plan-masked")
def test_what_is_in_a_live_secret_is_not_printed(site: Site) -> None:
    empty = {name: value for name, value in SECRET.items() if name != "data"}
    served: Callable[..., object] = site.cluster.kind_of
    site.cluster.kind_of = lambda version, kind: served(version, "ConfigMap" if kind == "Secret" else kind)  # type: ignore[assignment,method-assign,return-value]
    site.approve(site.propose(*SHOP, empty))
    site.carry_out()
    live = site.cluster.objects[key_of(SECRET).identity]
    site.cluster.put({**live, "data": SECRET["data"], "type": "Opaque"})
    number = site.propose(*SHOP, empty | {"metadata": SECRET["metadata"] | {"labels": {"a": "b"}}})
    for asked in (f"proposal/{number}", "release/shop"):
        found = str(site.preview(asked)) + site.desk.show("diff", asked, "--plan=east")
        assert all(value not in found for value in SECRET["data"].values())
    assert "***" in str(site.preview(f"proposal/{number}"))
