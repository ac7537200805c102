"""``conclave bridge manifests``: what the ledger holds becomes what an administrator installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from conclave.verbs import bridge as bridge_verb
from ledger.types import JsonObject
from tests.support.manifests import config_map, deployment, service, widget
from tests.unit.conclave.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def _release(desk: Desk, *manifests: JsonObject) -> None:
    source = desk.write("shop/all.yaml", *manifests).parent
    desk.approve(desk.run("propose", str(source), "--name", "shop", "--cluster", "east", "--as", "alice"))


def _verbs(items: list[JsonObject], plural: str) -> set[str]:
    roles = [i for i in items if i["kind"] == "Role" and i["metadata"]["name"].startswith("conclave-scope-")]
    return {verb for role in roles for r in role["rules"] if plural in r["resources"] for verb in r["verbs"]}


@pytest.mark.requires("bridge.rights-generated")
def test_rights_follow_the_ledger(desk: Desk) -> None:
    _release(desk, config_map("a"), service("web"))
    first = desk.run("bridge", "manifests", "--cluster", "east")["items"]
    assert _verbs(first, "services") == {"create", "patch", "delete"}
    assert _verbs(first, "deployments") == set()
    assert desk.run("bridge", "manifests", "--cluster", "east")["items"] == first

    _release(desk, config_map("a"), deployment("web"))
    second = desk.run("bridge", "manifests", "--cluster", "east")["items"]
    assert _verbs(second, "deployments") == {"create", "patch", "delete"}
    # The release is on the way to its second revision, and may still have to delete what the first had.
    assert _verbs(second, "services") >= {"delete"}
    assert desk.run("bridge", "manifests", "--cluster", "west")["items"] != second


@pytest.mark.requires("bridge.rights-generated")
def test_the_text_is_what_kubectl_applies(desk: Desk) -> None:
    _release(desk, config_map("a"))
    wanted = desk.run("bridge", "manifests", "--cluster", "east")["items"]
    assert list(yaml.safe_load_all(desk.show("bridge", "manifests", "--cluster", "east"))) == wanted
    kinds = [item["kind"] for item in wanted]
    assert kinds == sorted(kinds, key=list(dict.fromkeys(kinds)).index)
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "ValidatingAdmissionPolicyBinding"


@pytest.mark.requires("bridge.admission-protects-itself")
def test_static_policies_go_into_a_folder(desk: Desk, tmp_path: Path) -> None:
    _release(desk, config_map("a"))
    arguments = ("bridge", "manifests", "--cluster", "east", "--admission", "static", "--into")
    items = desk.run(*arguments, str(tmp_path / "k"))["items"]
    assert {item["kind"] for item in items}.isdisjoint({"ValidatingAdmissionPolicy"})
    policies = list(yaml.safe_load_all((tmp_path / "k" / "policies" / "conclave.yaml").read_text()))
    assert all(item["metadata"]["name"].endswith(".static.k8s.io") for item in policies)
    configuration = yaml.safe_load((tmp_path / "k" / "admission.yaml").read_text())
    plugin = configuration["plugins"][0]["configuration"]
    assert plugin["staticManifestsDir"] == str(tmp_path / "k" / "policies")
    assert {path.suffix for path in (tmp_path / "k" / "policies").iterdir()} == {".yaml"}


@pytest.mark.requires("bridge.rights-generated")
def test_what_cannot_be_worked_out_is_refused(desk: Desk) -> None:
    arguments = ("bridge", "manifests", "--cluster", "east")
    assert desk.refused(*arguments[:2], status=2) == "USAGE"
    assert desk.refused(*arguments, "--admission", "static", status=2) == "USAGE"
    assert desk.refused(*arguments, "--resource", "Widget", status=2) == "USAGE"
    assert desk.refused("bridge", "manifests", "--cluster", "nowhere") == "CLUSTER_UNKNOWN"
    _release(desk, widget("one"))
    assert desk.refused(*arguments) == "OBJECT_KIND_UNKNOWN"
    named = desk.run(*arguments, "--resource", "Widget.shop.test=widgets")["items"]
    assert _verbs(named, "widgets") == {"create", "patch", "delete"}


@pytest.mark.requires("bridge.least-privilege")
def test_a_cluster_s_name_alone_runs_its_bridge() -> None:
    context = bridge_verb.command.make_context("bridge", ["east", "--kubeconfig", "k"])
    name, command, rest = bridge_verb.command.resolve_command(context, context._protected_args)
    assert command is not None
    assert (name, rest) == ("run", [])
    assert context.args == ["east", "--kubeconfig", "k"]
