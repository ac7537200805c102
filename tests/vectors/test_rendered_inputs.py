"""Others' manifests, rendered: what comes out is what they wrote."""

from __future__ import annotations

import pytest
import yaml

from conclave.render.release import RenderOptions, render
from ledger.manifest import object_id
from tests.unit.conclave.paths import shared_input


@pytest.mark.requires("render.inputs")
def test_argo_cd_renders_object_for_object() -> None:
    path = shared_input("argo-cd/install.yaml")
    options = RenderOptions(
        name="argo-cd", clusters=("east",), namespace="argocd", image_digest_required=False
    )
    manifests = render(path, options)["spec"]["manifests"]
    assert sum(object_id(manifest).split("/")[-2] == "-" for manifest in manifests) == 9
    assert sum(manifest["kind"] == "Secret" for manifest in manifests) == 2
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    original = [document for document in yaml.load_all(path.read_bytes(), Loader=loader) if document]
    assert len(manifests) == 59
    for manifest in manifests:
        if manifest["metadata"].get("namespace") == "argocd":
            del manifest["metadata"]["namespace"]
    assert manifests == original
