"""Releases that people really deploy go the whole way, from YAML onto a cluster and out without leftovers."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from conclave.demo.stage import EXAMPLES, Stage
from consensus import release_reader
from k8s_bridge.plan import WRITING
from ledger.errors import Code
from ledger.types import JsonObject
from tests.support.everything import Name, everything
from tests.support.live import approve, differences, release, running_ledger, sign_release, signed_manifests
from tests.support.log_entries import log_entries

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = EXAMPLES.parent
INPUTS = Path(os.environ.get("CONCLAVE_SHARED", str(ROOT.parent / "shared"))) / "inputs"
PINS = str(EXAMPLES / "pins.yaml")
APPLIED_S = 300.0
"""Generous: a write that a busy machine cuts off is tried again with growing pauses."""
LEFT_S = 240.0
"""Until Kubernetes has taken away what goes with what was deleted."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_ledger(tmp_path_factory.mktemp("inputs")) as up:
        up.until("what Kubernetes adds to every namespace", lambda: _are_furnished(up))
        yield up


def _are_furnished(stage: Stage) -> bool:
    """Whether every namespace has what controllers put into it some time after it was made."""
    assert stage.cluster is not None
    there = {name[1:] for name in everything(stage.cluster)}
    namespaces = {name for kind, _, name in there if kind == "Namespace"}
    added = (("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"))
    return all((kind, namespace, name) in there for namespace in namespaces for kind, name in added)


def _input(*parts: str) -> str:
    path = INPUTS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no manifests of others at {path}")
    return str(path)


def _goes_the_whole_way(stage: Stage, name: str, *source: str, upgrade: tuple[str, ...] = ()) -> int:
    """Bring a release onto the cluster, upgrade it, and take it away: nothing is left.

    What ``conclave diff --plan`` prints before each is what the bridge then does. The next version has other
    images where the source has pins, or what the options of ``upgrade`` change.
    """
    assert stage.cluster is not None
    before = everything(stage.cluster)
    bridge = _BridgeLog(stage, name)
    bridge.does(lambda: release(stage, name, *source, seconds=APPLIED_S), *source, "--name", name)
    manifests = signed_manifests(stage, name)
    wrong = [found for manifest in manifests for found in differences(stage, manifest)]
    assert wrong == []
    changed = [str(_other_pins(stage.home.parent)) if word == PINS else word for word in source]
    if upgrade or PINS in source:
        following = (*changed, *upgrade)
        done = bridge.does(
            lambda: release(stage, name, *following, seconds=APPLIED_S), *following, "--name", name
        )
        assert done
        assert {action for action, _ in done} == {"configure"}
        upgraded = signed_manifests(stage, name)
        assert upgraded != manifests
        assert [found for manifest in upgraded for found in differences(stage, manifest)] == []
    number = str(stage.quietly("delete", name, "--prune", "--as", "alice")["number"])
    bridge.does(lambda: _approve(stage, name, number), f"proposal/{number}")
    _nothing_is_left(stage, before)
    return len(manifests)


class _BridgeLog:
    """What the bridge says that it is about to write, for one release."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage, self._name = stage, name
        self._log = stage.home / "bridges" / "east" / "log" / "bridge.log"

    def does(self, act: Callable[[], object], *previewed: str) -> list[tuple[str, str]]:
        """Act, and give the writing steps of the plan that was made for it: they must be those previewed.

        Between the two the bridge may put back what a controller wrote: that is another plan, of another
        revision.
        """
        preview = self._stage.quietly("diff", *previewed, "--plan", "east")
        wanted = [(s["action"], s["object"]) for s in preview["steps"] if s["action"] in WRITING]
        before = self._log.stat().st_size
        act()
        said = [entry for entry in log_entries(self._log, before) if entry["event"] == "step planned"]
        ours = [e for e in said if (e["release"], e["revision"]) == (self._name, preview["revision"])]
        if preview["state"] == "deleted":
            ours = [entry for entry in ours if entry["action"] == "delete"]
        done = [(e["action"], e["object"]) for e in ours if e["plan"] == ours[0]["plan"]]
        assert done == wanted
        return done


def _approve(stage: Stage, name: str, number: str) -> None:
    """Approve a deletion and wait until the bridge has reported it."""
    approve(stage, int(number))
    stage.quietly("wait", name, "--for=gone", "--timeout", "2m")


def _nothing_is_left(stage: Stage, before: dict[Name, str]) -> None:
    """Wait until every object of every kind that is there was there before, and nothing else is missing.

    But for the inventory: of a release that owns nothing it keeps the revision below which nobody goes back.
    """
    end = time.monotonic() + LEFT_S
    while True:
        assert stage.cluster is not None
        after = everything(stage.cluster)
        left = [name for name in after.keys() - before.keys() if not _is_inventory(name)]
        gone = [name for name, uid in before.items() if after.get(name) != uid]
        if not left and not gone:
            return
        assert time.monotonic() < end, f"left {left}, gone {gone}"
        time.sleep(0.5)


def _is_inventory(name: Name) -> bool:
    return name[1:3] == ("ConfigMap", "conclave-system") and name[3].startswith("conclave-inventory-")


def _other_pins(folder: Path) -> Path:
    """Give pins of a next version: every image has another digest."""
    path = folder / "next.yaml"
    content = Path(PINS).read_text()
    path.write_text(re.sub("[0-9a-f]{64}", lambda found: sha256(found[0].encode()).hexdigest(), content))
    return path


@pytest.mark.requires("inputs.guestbook")
def test_the_upstream_guestbook(stage: Stage) -> None:
    source = _input("guestbook", "guestbook-all-in-one.yaml")
    count = _goes_the_whole_way(
        stage,
        "upstream-guestbook",
        source,
        "--pin",
        PINS,
        "--namespace",
        "upstream-guestbook",
        "--create-namespace",
    )
    assert count == 6 + 1


@pytest.mark.requires("inputs.podinfo-kustomize")
def test_podinfo_by_kustomize(stage: Stage) -> None:
    source = _input("podinfo", "kustomize")
    count = _goes_the_whole_way(
        stage, "podinfo", source, "--pin", PINS, "--namespace", "podinfo", "--create-namespace"
    )
    assert count == 3 + 1


@pytest.mark.requires("inputs.argo-cd")
def test_the_argo_cd_install_manifest(stage: Stage) -> None:
    source = _input("argo-cd", "install.yaml")
    count = _goes_the_whole_way(
        stage, "argo-cd", source, "--pin", PINS, "--namespace", "argocd", "--create-namespace"
    )
    assert count == 59 + 1


@pytest.mark.requires("inputs.own-chart")
def test_our_own_helm_chart(stage: Stage, tmp_path: Path) -> None:
    values = tmp_path / "next.yaml"
    values.write_text("replicas: 3\ngreeting: Hello again\n")
    source, upgrade = str(EXAMPLES / "web-chart"), ("--values", str(values))
    assert _goes_the_whole_way(stage, "web", source, "--pin", PINS, upgrade=upgrade) > 2


@pytest.mark.requires("inputs.own-kustomization")
def test_our_own_kustomization(stage: Stage) -> None:
    source = str(EXAMPLES / "kustomize-app" / "production")
    assert _goes_the_whole_way(stage, "kustomize-app", source, "--pin", PINS) > 1


@pytest.mark.requires("inputs.remote-sources-refused")
def test_a_kustomization_that_names_a_url_is_refused(stage: Stage) -> None:
    source = _input("flux2", "manifests", "install")
    answer = stage.quietly("propose", source, "--name", "flux", "--as", "alice", status=1)
    assert answer["error"]["code"] == Code.REMOTE_SOURCE


@pytest.mark.requires("inputs.unpinned-listed")
def test_every_unpinned_image_is_listed_with_object_and_path(stage: Stage) -> None:
    source = _input("argo-cd", "install.yaml")
    answer = stage.quietly(
        "propose", source, "--name", "argo", "--namespace", "argocd", "--as", "alice", status=1
    )
    assert answer["error"]["code"] == Code.IMAGE_NOT_PINNED
    images = answer["error"]["facts"]["images"]
    assert len(images) >= 7
    assert all(entry["object"] and entry["path"].endswith(".image") and entry["image"] for entry in images)


@pytest.mark.requires("inputs.four-mebibytes")
def test_a_release_of_four_mebibytes_passes_and_a_larger_one_is_refused(stage: Stage, tmp_path: Path) -> None:
    for index in range(5):
        _config_map(tmp_path, index, "x" * 830_000)
    arguments = (str(tmp_path), "--namespace", "large", "--create-namespace")
    count = _goes_the_whole_way(stage, "large", *arguments)
    assert count == 5 + 1
    _config_map(tmp_path, 5, "y" * 830_000)
    answer = stage.quietly("propose", *arguments, "--name", "larger", "--as", "alice", status=1)
    assert answer["error"]["code"] in (Code.BODY_TOO_LARGE, Code.LIMIT_EXCEEDED)


@pytest.mark.requires("inputs.bad-on-the-ledger")
def test_what_no_api_server_takes_is_reported_and_the_rest_goes_on(stage: Stage) -> None:
    """Another client signed it: the ledger takes it, and the bridge goes on with the other releases."""
    bad: dict[str, tuple[JsonObject, Code]] = {
        "bad-kind": ({"apiVersion": "apps/v1", "kind": "Deploymint"}, Code.OBJECT_KIND_UNKNOWN),
        "bad-api": ({"apiVersion": "extensions/v1beta1", "kind": "Ingress"}, Code.OBJECT_KIND_UNKNOWN),
        "bad-list": ({"kind": "ConfigMapList"}, Code.OBJECT_KIND_UNKNOWN),
        "bad-size": ({"data": {"a": "x" * 1_500_000}}, Code.KUBERNETES_REFUSED),
        "bad-case": ({"metadata": {"name": "Alone", "namespace": "default"}}, Code.KUBERNETES_REFUSED),
        "bad-null": ({"data": {"a": None, "b": [None]}}, Code.KUBERNETES_REFUSED),
    }
    numbers = [sign_release(stage, name, [_alone(name) | change]) for name, (change, _) in bad.items()]
    good = _alone("good")
    for number in [*numbers, sign_release(stage, "good", [good])]:
        approve(stage, number)
    stage.wait_applied(1, name="good")
    assert differences(stage, good) == []
    for name, (_, code) in bad.items():
        stage.until(f"{name} told", functools.partial(_is_told, stage, name, code))
        row = stage.quietly("status", name)["items"][0]
        assert (row["sync"], row["outcome"]) == ("out_of_sync", "failed")
        assert row["objectStates"][0]["reason"].startswith(code.name)


def _alone(name: str) -> JsonObject:
    metadata = {"name": f"alone-{name}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def _is_told(stage: Stage, name: str, code: Code) -> bool:
    """Tell whether the ledger has the bridge's report that an object failed with a code."""
    with stage.client() as client:
        report = release_reader.report(client.view(), "east", name).value
    return report is not None and [item["code"] for item in report.objects] == [int(code)]


def _config_map(folder: Path, index: int, content: str) -> None:
    lines = (
        "apiVersion: v1",
        "kind: ConfigMap",
        f"metadata: {{name: large-{index}}}",
        f"data: {{content: {content}}}",
    )
    (folder / f"{index}.yaml").write_text("\n".join(lines) + "\n")
