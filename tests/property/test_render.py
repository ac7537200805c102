"""Any source files: a release or a coded refusal, never another exception."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conclave.render.pin import read_pins
from conclave.render.release import RenderOptions, render
from conclave.render.release_file import find
from conclave.render.remote import is_remote
from ledger import canonical
from ledger.errors import Code, ConclaveError, EnvironmentFault

OPTIONS = RenderOptions(name="r", clusters=("east",), image_digest_required=False)
_texts = st.sampled_from(
    [
        "",
        "a",
        "a.yaml",
        "../x",
        "\0",
        "x" * 300,
        "https://x/y",
        "a\nb: c",
        "é",
        "-",
        ".",
        "..",
        "/",
        "Secret",
        "v1",
    ]
)
_leaves = st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | _texts
_WORDS = """apiVersion kind metadata name namespace spec items resources path files patches generators openapi
configMapGenerator dependencies repository status template clusters source values containers image
helmCharts repo scope names group"""
_names = st.sampled_from(_WORDS.split())
_trees = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=5),
    max_leaves=12,
)
_kinds = st.sampled_from(
    ["ConfigMap", "Deployment", "Secret", "List", "CustomResourceDefinition", "Release", "Thing"]
)
_apis = st.sampled_from(["v1", "apps/v1", "conclave.internal/v1", "apiextensions.k8s.io/v1", "x"])
_objects = st.builds(
    lambda api, kind, rest: {**rest, "apiVersion": api, "kind": kind, "metadata": {"name": "a"}},
    _apis,
    _kinds,
    st.dictionaries(_names, _trees, max_size=4),
)
_files = st.dictionaries(
    st.sampled_from(["a.yaml", "b.json", "release.yaml", "kustomization.yaml", "Chart.yaml", "sub/a.yaml"]),
    st.one_of(
        st.binary(max_size=60),
        _trees.map(lambda tree: yaml.safe_dump(tree).encode()),
        st.lists(_objects, max_size=3).map(lambda docs: yaml.safe_dump_all(docs).encode()),
    ),
    max_size=3,
)


def no_tool(name: str) -> tuple[Path, str]:
    raise EnvironmentFault(Code.TOOL_MISSING, got=name)


@pytest.mark.requires("render.any-bytes")
@settings(max_examples=300, deadline=None)
@given(files=_files)
def test_any_files_give_a_release_or_a_coded_refusal(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        try:
            release = render(Path(folder), OPTIONS, no_tool)
        except ConclaveError:
            return
        canonical.load(canonical.dump(release))
        assert canonical.dump(render(Path(folder), OPTIONS, no_tool)) == canonical.dump(release)


@pytest.mark.requires("render.any-bytes")
@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=120) | _trees.map(lambda tree: yaml.safe_dump(tree).encode()))
def test_any_pin_and_release_files_give_a_value_or_a_coded_refusal(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "release.yaml"
        path.write_bytes(content)
        for read in (find, lambda file: read_pins((file,))):
            try:
                found: Any = read(path)
            except ConclaveError:
                continue
            assert found is not None


@pytest.mark.requires("render.offline")
@given(
    scheme=st.sampled_from(["http://", "https://", "ssh://", "git::", "oci://", "s3::", "HTTPS://"]),
    rest=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
)
def test_anything_behind_a_scheme_is_remote(scheme: str, rest: str) -> None:
    assert is_remote(scheme + rest)
    assert is_remote("  " + scheme + rest)
