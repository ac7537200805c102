"""Releases that people really deploy go the whole way: rendered, approved, finalized, verified, applied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conclave.demo.stage import EXAMPLES, Stage
from ledger.errors import Code
from tests.support.live import differences, release, running_ledger, signed_manifests

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = EXAMPLES.parent
INPUTS = Path(os.environ.get("CONCLAVE_SHARED", str(ROOT.parent / "shared"))) / "inputs"
PINS = str(EXAMPLES / "pins.yaml")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_ledger(tmp_path_factory.mktemp("inputs")) as up:
        yield up


def _input(*parts: str) -> str:
    path = INPUTS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no manifests of others at {path}")
    return str(path)


def _goes_the_whole_way(stage: Stage, name: str, *source: str) -> int:
    release(stage, name, *source)
    manifests = signed_manifests(stage, name)
    wrong = [found for manifest in manifests for found in differences(stage, manifest)]
    assert wrong == []
    return len(manifests)


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
def test_our_own_helm_chart(stage: Stage) -> None:
    assert _goes_the_whole_way(stage, "web", str(EXAMPLES / "web-chart"), "--pin", PINS) > 2


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


def _config_map(folder: Path, index: int, content: str) -> None:
    lines = (
        "apiVersion: v1",
        "kind: ConfigMap",
        f"metadata: {{name: large-{index}}}",
        f"data: {{content: {content}}}",
    )
    (folder / f"{index}.yaml").write_text("\n".join(lines) + "\n")
