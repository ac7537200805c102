"""Rendering with the real kustomize and helm: offline, the same every time, refused with the tool's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from conclave.render import offline
from conclave.render.release import RenderOptions, render
from ledger import canonical
from ledger.errors import Code, ConclaveError, Refused
from ledger.manifest import images, is_pinned, object_id
from ledger.types import JsonObject
from tests.unit.conclave.paths import EXAMPLES, shared_input

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

EAST = RenderOptions(name="r", clusters=("east",))
PINNED = RenderOptions(name="r", clusters=("east",), pins=(EXAMPLES / "pins.yaml",))
CHART = "apiVersion: v2\nname: c\nversion: 0.1.0\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def ids(release: JsonObject) -> list[str]:
    return [object_id(manifest) for manifest in release["spec"]["manifests"]]


def chart(folder: Path, template: str) -> Path:
    (folder / "templates").mkdir()
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "templates" / "a.yaml").write_text(template)
    return folder


def refusal_of(path: Path) -> ConclaveError:
    with pytest.raises(ConclaveError) as refusal:
        render(path, EAST)
    return refusal.value


@pytest.mark.requires("render.inputs")
def test_podinfo_renders_by_kustomize() -> None:
    path = shared_input("podinfo/kustomize")
    release = render(path, PINNED)
    assert sorted(ids(release)) == [
        "apps/v1/Deployment/default/podinfo",
        "autoscaling/v2/HorizontalPodAutoscaler/default/podinfo",
        "v1/Service/default/podinfo",
    ]
    deployment = next(m for m in release["spec"]["manifests"] if m["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]
    assert all(is_pinned(image) for _, image in images(deployment))
    assert release["spec"]["provenance"]["source"] == "kustomize"


@pytest.mark.requires("render.deterministic")
@pytest.mark.parametrize("source", ["web-chart", "kustomize-app/production"])
def test_examples_render_the_same_from_any_place(source: str, tmp_path: Path) -> None:
    first = render(EXAMPLES / source, PINNED)
    assert canonical.dump(render(EXAMPLES / source, PINNED)) == canonical.dump(first)
    elsewhere = tmp_path / "copy"
    elsewhere.symlink_to(EXAMPLES)
    assert canonical.dump(render(elsewhere / source, PINNED)) == canonical.dump(first)


@pytest.mark.requires("render.release-file")
def test_values_of_release_yaml_and_of_flags_reach_the_chart(tmp_path: Path) -> None:
    release = render(EXAMPLES / "web-chart", RenderOptions())
    page = next(m for m in release["spec"]["manifests"] if m["kind"] == "ConfigMap")
    assert page["data"]["index.html"] == "<h1>Hello from a signed release</h1>"
    values = tmp_path / "values.yaml"
    values.write_text("greeting: Hello again\nautoscaling: {enabled: true}\n")
    other = render(EXAMPLES / "web-chart", RenderOptions(values=(values,)))
    page = next(m for m in other["spec"]["manifests"] if m["kind"] == "ConfigMap")
    assert page["data"]["index.html"] == "<h1>Hello again</h1>"
    assert "autoscaling/v2/HorizontalPodAutoscaler/web/web" in ids(other)
    assert other["spec"]["provenance"]["digest"] != release["spec"]["provenance"]["digest"]


@pytest.mark.requires("render.deterministic")
def test_a_chart_that_renders_differently_each_time_is_refused(tmp_path: Path) -> None:
    error = refusal_of(chart(tmp_path, CONFIG + "data: {x: {{ randAlphaNum 12 | quote }}}\n"))
    assert error.code is Code.RENDER_FAILED
    assert "differ" in str(error.got)


@pytest.mark.requires("render.tools-refuse")
def test_a_failing_tool_is_refused_with_its_last_lines(tmp_path: Path) -> None:
    error = refusal_of(chart(tmp_path, "{{ fail `this chart needs a value` }}\n"))
    assert error.code is Code.RENDER_FAILED
    assert any("this chart needs a value" in line for line in error.facts["lines"])
    broken = tmp_path / "k"
    broken.mkdir()
    (broken / "kustomization.yaml").write_text("resources: [a.yaml]\npatches: [{path: nowhere.yaml}]\n")
    (broken / "a.yaml").write_text(CONFIG)
    error = refusal_of(broken)
    assert (error.code, error.facts["tool"]) == (Code.RENDER_FAILED, "kustomize")


@pytest.mark.requires("render.tools-refuse")
def test_hooks_are_refused_or_left_out_by_choice(tmp_path: Path) -> None:
    hook = "---\napiVersion: batch/v1\nkind: Job\n"
    hook += "metadata: {name: h, annotations: {helm.sh/hook: pre-install}}\n"
    error = refusal_of(chart(tmp_path, CONFIG + hook))
    assert error.code is Code.RENDER_FAILED
    assert "Job h (pre-install)" in str(error.got)
    head = "apiVersion: conclave.internal/v1\nkind: Release\nmetadata: {name: r}\nspec: {hooks: omit}\n"
    (tmp_path / "release.yaml").write_text(head)
    assert ids(render(tmp_path, EAST)) == ["v1/ConfigMap/default/a"]


@pytest.mark.requires("render.source-bounded")
def test_kustomize_reads_no_file_outside_its_root(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "app"
    root.mkdir()
    (root / "kustomization.yaml").write_text("configMapGenerator: [{name: a, files: [../secret.txt]}]\n")
    assert refusal_of(root).code is Code.RENDER_FAILED


@pytest.mark.requires("render.offline")
def test_a_renderer_sees_no_network_and_nothing_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    output = offline.run(["/usr/bin/env"], cwd=tmp_path, home=tmp_path, what="env").decode()
    seen = dict(line.split("=", 1) for line in output.splitlines())
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert seen["HOME"] == seen["PATH"] == str(tmp_path)
    assert seen["HTTPS_PROXY"] == seen["http_proxy"] == offline.NOWHERE


@pytest.mark.requires("render.tools-bounded")
def test_time_and_output_of_a_renderer_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "RENDER_SECONDS_MAX", 0.3)
    with pytest.raises(Refused) as refusal:
        offline.run(["/bin/sleep", "60"], cwd=tmp_path, home=tmp_path, what="sleep")
    assert refusal.value.code is Code.TIMEOUT
    monkeypatch.setattr(offline, "RENDER_SECONDS_MAX", 60.0)
    monkeypatch.setattr(offline, "RENDER_OUTPUT_BYTES_MAX", 100_000)
    with pytest.raises(Refused) as refusal:
        offline.run(["/bin/cat", "/dev/zero"], cwd=tmp_path, home=tmp_path, what="zero")
    assert refusal.value.code is Code.LIMIT_EXCEEDED
