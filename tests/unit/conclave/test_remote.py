"""Nothing is fetched while rendering: every form of remote entry is refused before a renderer runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from conclave.render.release import RenderOptions, render
from conclave.render.remote import is_remote
from ledger.errors import Code, ConclaveError
from tests.unit.conclave.paths import shared_input

EAST = RenderOptions(name="r", clusters=("east",))


def no_tool(name: str) -> tuple[Path, str]:
    raise AssertionError(f"{name} must not run")


def refusal_of(path: Path) -> ConclaveError:
    with pytest.raises(ConclaveError) as refusal:
        render(path, EAST, no_tool)
    return refusal.value


REMOTE = [
    "https://example.org/a.yaml", "http://10.0.0.1/a", "HTTPS://EXAMPLE.ORG/a",
    "git::https://example.org/a", "ssh://git@example.org/a",
    "git@example.org:org/repo", "github.com/org/repo?ref=v1", "github.com/org/repo",
    "oci://example.org/a", "s3::https://x/y",
    "example.org/org/repo.git", "../x?ref=main", "example.org:org/repo", "file:///etc/passwd", "gh:org/repo",
]  # fmt: skip


@pytest.mark.requires("render.offline")
@pytest.mark.parametrize("entry", REMOTE)
def test_remote_forms_are_told(entry: str) -> None:
    assert is_remote(entry)


@pytest.mark.requires("render.offline")
@pytest.mark.parametrize(
    "entry", ["a.yaml", "../base", "./x/y.yaml", "base.d/a.yml", "app-1.2/a.yaml", "a=b.yaml"]
)
def test_local_forms_are_told(entry: str) -> None:
    assert not is_remote(entry)


@pytest.mark.requires("render.offline")
@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("resources: [URL]", "resources"), ("bases: [URL]", "bases"), ("components: [URL]", "components"),
        ("crds: [URL]", "crds"), ("configurations: [URL]", "configurations"),
        ("generators: [URL]", "generators"),
        ("transformers: [URL]", "transformers"), ("validators: [URL]", "validators"),
        ("patchesStrategicMerge: [URL]", "patchesStrategicMerge"), ("patches: [{path: URL}]", "patches.path"),
        ("patchesJson6902: [{path: URL}]", "patchesJson6902.path"),
        ("replacements: [{path: URL}]", "replacements.path"),
        ("openapi: {path: URL}", "openapi.path"),
        ("configMapGenerator: [{name: a, files: [k=URL]}]", "configMapGenerator.files"),
        ("configMapGenerator: [{name: a, env: URL}]", "configMapGenerator.env"),
        ("secretGenerator: [{name: a, envs: [URL]}]", "secretGenerator.envs"),
        ("helmCharts: [{name: a, repo: URL}]", "helmCharts"),
        ("generators: ['kind: ConfigMapGenerator\n\n\nfiles: [URL]\n']", "generators.files"),
    ],
)  # fmt: skip
def test_every_field_that_could_fetch_is_walked(tmp_path: Path, text: str, field: str) -> None:
    url = "https://example.org/a.yaml"
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "kustomization.yaml").write_text(text.replace("URL", url) + "\n")
    (tmp_path / "kustomization.yaml").write_text("resources: [base]\n")
    error = refusal_of(tmp_path)
    assert error.code is Code.REMOTE_SOURCE
    assert error.facts["field"] == field
    assert url in error.facts["entry"]
    assert error.facts["file"] == str(tmp_path / "base" / "kustomization.yaml")


@pytest.mark.requires("render.offline")
def test_a_host_path_that_is_not_on_disk_is_remote_and_a_missing_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [example.org/org/app]\n")
    assert refusal_of(tmp_path).code is Code.REMOTE_SOURCE
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    error = refusal_of(tmp_path)
    assert error.code is Code.SOURCE_MISSING
    assert "kustomization.yaml" in str(error.got)


@pytest.mark.requires("render.offline")
def test_a_loop_of_kustomizations_ends(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text(f"resources: [../{other}, https://x.example/y]\n")
    assert refusal_of(tmp_path / "a").code is Code.REMOTE_SOURCE


@pytest.mark.requires("render.offline")
def test_a_chart_dependency_that_is_not_vendored_is_refused(tmp_path: Path) -> None:
    chart = "apiVersion: v2\nname: a\nversion: 0.1.0\n"
    chart += "dependencies:\n- {name: redis, version: 1, repository: REPO}\n"
    (tmp_path / "Chart.yaml").write_text(chart.replace("REPO", '"https://charts.example.org"'))
    with pytest.raises(ConclaveError) as refusal:
        render(tmp_path, EAST, lambda _: (Path("/nonexistent/helm"), "0"))
    assert refusal.value.code is Code.REMOTE_SOURCE
    assert "charts.example.org" in refusal.value.facts["entry"]
    (tmp_path / "Chart.yaml").write_text(chart.replace("REPO", '""'))
    with pytest.raises(ConclaveError) as refusal:
        render(tmp_path, EAST, lambda _: (Path("/nonexistent/helm"), "0"))
    assert refusal.value.code is Code.RENDER_FAILED


@pytest.mark.requires("render.inputs")
@pytest.mark.parametrize("folder", ["flux2", "flux2/manifests/install", "flux2/manifests/crds"])
def test_flux_is_refused_naming_file_and_url(folder: str) -> None:
    error = refusal_of(shared_input(folder))
    assert error.code is Code.REMOTE_SOURCE
    assert error.facts["entry"].startswith("https://github.com/fluxcd/")
    assert error.facts["file"].endswith("kustomization.yaml")
