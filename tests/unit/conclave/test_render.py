"""Rendering of plain files: the Release object, its namespaces, pins and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from conclave.render.release import RenderOptions, render
from ledger import canonical
from ledger.errors import Code, ConclaveError
from ledger.manifest import images, is_pinned, object_id
from ledger.types import JsonObject
from tests.unit.conclave.paths import EXAMPLES, shared_input

EAST = RenderOptions(name="r", default_clusters=("east",))
UNPINNED = RenderOptions(name="r", default_clusters=("east",), image_digest_required=False)
RELEASE = "apiVersion: conclave.internal/v1\nkind: Release\nmetadata: {name: r}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\n"


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder


def refusal_of(path: Path, options: RenderOptions = EAST) -> ConclaveError:
    with pytest.raises(ConclaveError) as refusal:
        render(path, options)
    return refusal.value


def ids(release: JsonObject) -> list[str]:
    return [object_id(manifest) for manifest in release["spec"]["manifests"]]


@pytest.mark.requires("render.deterministic")
def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path, b=CONFIG.replace("NAME", "b"), a=CONFIG.replace("NAME", "a"))
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", c=CONFIG.replace("NAME", "c"))
    first = render(tmp_path, EAST)
    assert ids(first) == [f"v1/ConfigMap/default/{name}" for name in "abc"]
    assert canonical.dump(render(tmp_path, EAST)) == canonical.dump(first)
    (tmp_path / "a.yaml").write_text(CONFIG.replace("NAME", "a") + "# remark\n")
    assert render(tmp_path, EAST)["spec"]["provenance"]["digest"] != first["spec"]["provenance"]["digest"]


@pytest.mark.requires("render.release-file")
def test_flags_override_release_yaml() -> None:
    release = render(EXAMPLES / "guestbook", RenderOptions(default_clusters=("west",)))
    assert release["metadata"]["name"] == "guestbook"
    assert (release["spec"]["clusters"], release["spec"]["namespace"]) == (["east"], "guestbook")
    assert ids(release)[0] == "v1/Namespace/-/guestbook"
    options = RenderOptions(name="g", clusters=("west", "north"), namespace="n", create_namespace=False)
    other = render(EXAMPLES / "guestbook", options)
    assert other["metadata"]["name"] == "g"
    assert (other["spec"]["clusters"], other["spec"]["namespace"]) == (["north", "west"], "n")
    assert ids(other)[0] == "v1/ConfigMap/n/guestbook-config"


@pytest.mark.requires("render.release-file")
def test_a_misspelt_field_of_release_yaml_is_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=CONFIG,
        release=RELEASE + "spec: {namespaces: x}\n",
    )
    error = refusal_of(tmp_path)
    assert error.code is Code.FIELD_UNKNOWN
    assert "release.yaml" in str(error.facts["field"])


@pytest.mark.requires("render.release-file")
def test_a_release_without_cluster_or_with_a_bad_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, a=CONFIG)
    assert refusal_of(tmp_path, RenderOptions(name="r")).code is Code.FIELD_MISSING
    assert refusal_of(tmp_path, RenderOptions(name="No_Label", clusters=("east",))).code is Code.FIELD_INVALID


@pytest.mark.requires("render.objects")
def test_lists_expand_and_generator_artefacts_go(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, creationTimestamp: null}}\n"
        "- apiVersion: v1\n  kind: ServiceList\n  items:\n"
        "  - {apiVersion: v1, kind: Service, metadata: {name: s}, status: {}}\n"
        "- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: d}\n"
        "  spec: {template: {metadata: {creationTimestamp: null}}}\n"
        "- apiVersion: example.org/v1\n  kind: Thing\n  metadata: {name: t, namespace: default}\n"
        "  spec: {x: null}\n",
    )
    release = render(tmp_path, EAST)
    assert ids(release) == [
        "v1/ConfigMap/default/a",
        "v1/Service/default/s",
        "apps/v1/Deployment/default/d",
        "example.org/v1/Thing/default/t",
    ]
    config, service, deployment, thing = release["spec"]["manifests"]
    assert "creationTimestamp" not in config["metadata"]
    assert "status" not in service
    assert deployment["spec"] == {"template": {"metadata": {}}}
    assert thing["spec"] == {"x": None}


@pytest.mark.requires("render.objects")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a\n- b\n", 1),
        ("a: 1\n", 1),
        (CONFIG + "---\nkind: ConfigMap\napiVersion: v1\nmetadata: {}\n", 5),
        (CONFIG + "---\ntext\n", 5),
    ],
)
def test_what_is_no_object_is_refused_with_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    error = refusal_of(write(tmp_path, a=text))
    assert error.code is Code.OBJECT_INVALID
    assert (error.facts["file"], error.facts["line"]) == ("a.yaml", line)


@pytest.mark.requires("render.objects")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("status: {phase: x}\n", Code.OBJECT_INVALID),
        ("---\n" + CONFIG, Code.OBJECT_DUPLICATE),
    ],
)
def test_server_side_state_and_twins_are_refused(tmp_path: Path, change: str, code: Code) -> None:
    assert (
        refusal_of(write(tmp_path, a=CONFIG.replace("NAME", "a") + change.replace("NAME", "a"))).code is code
    )


CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org}
spec: {group: example.org, scope: SCOPE, names: {kind: Thing}}
---
apiVersion: example.org/v1
kind: Thing
metadata: {name: a}
"""


@pytest.mark.requires("render.namespaces")
@pytest.mark.parametrize(("scope", "namespace"), [("Namespaced", "n"), ("Cluster", "-")])
def test_a_crd_of_the_release_tells_the_scope_of_its_kind(tmp_path: Path, scope: str, namespace: str) -> None:
    release = render(
        write(tmp_path, a=CRD.replace("SCOPE", scope)),
        RenderOptions(name="r", clusters=("east",), namespace="n"),
    )
    assert ids(release) == [
        "apiextensions.k8s.io/v1/CustomResourceDefinition/-/things.example.org",
        f"example.org/v1/Thing/{namespace}/a",
    ]


@pytest.mark.requires("render.namespaces")
def test_an_unknown_kind_needs_a_namespace_or_a_declaration(tmp_path: Path) -> None:
    thing = CRD.partition("---\n")[2]
    error = refusal_of(write(tmp_path, a=thing))
    assert error.code is Code.NAMESPACE_UNKNOWN
    assert error.facts["objects"] == [
        {"apiVersion": "example.org/v1", "kind": "Thing", "name": "a", "origin": "a.yaml:1"}
    ]
    head = RELEASE + "spec: {clusterScopedKinds: [Thing.example.org]}\n"
    write(tmp_path, release=head)
    assert ids(render(tmp_path, EAST)) == ["example.org/v1/Thing/-/a"]
    write(tmp_path, a=thing.replace("{name: a}", "{name: a, namespace: own}"))
    (tmp_path / "release.yaml").unlink()
    assert ids(render(tmp_path, EAST)) == ["example.org/v1/Thing/own/a"]


@pytest.mark.requires("render.namespaces")
def test_cluster_scoped_builtins_get_none_and_own_namespaces_stay(tmp_path: Path) -> None:
    role = (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: c, namespace: oops}\n"
    )
    own = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: own}\n"
    assert ids(render(write(tmp_path, a=role, b=own), EAST)) == [
        "rbac.authorization.k8s.io/v1/ClusterRole/-/c",
        "v1/ConfigMap/own/a",
    ]


DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  template:
    spec:
      initContainers: [{name: i, image: "registry.internal:5000/init:1"}]
      containers: [{name: a, image: redis}, {name: b, image: "redis:7"}]
"""
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.requires("render.pins")
def test_a_refusal_lists_every_unpinned_image(tmp_path: Path) -> None:
    error = refusal_of(write(tmp_path, a=DEPLOYMENT))
    assert error.code is Code.IMAGE_NOT_PINNED
    where = "spec.template.spec"
    assert [(entry["path"], entry["image"]) for entry in error.facts["images"]] == [
        (f"{where}.initContainers[0].image", "registry.internal:5000/init:1"),
        (f"{where}.containers[0].image", "redis"),
        (f"{where}.containers[1].image", "redis:7"),
    ]
    assert render(tmp_path, UNPINNED)


@pytest.mark.requires("render.pins")
@pytest.mark.parametrize(
    "pins",
    [
        f"redis: {DIGEST}\nredis:7: {DIGEST}\nregistry.internal:5000/init:1: {DIGEST}\n",
        f"# lines\nredis {DIGEST}\nredis:7   {DIGEST} # why\n\nregistry.internal:5000/init:1 {DIGEST}\n",
        f'{{"redis": "{DIGEST}", "redis:7": "{DIGEST}", "registry.internal:5000/init:1": "{DIGEST}"}}',
    ],
)
def test_pins_keep_the_tag_and_add_the_digest(tmp_path: Path, pins: str) -> None:
    pin_file = tmp_path / "pins"
    pin_file.write_text(pins)
    (tmp_path / "app").mkdir()
    write(tmp_path / "app", a=DEPLOYMENT)
    release = render(tmp_path / "app", RenderOptions(name="r", clusters=("east",), pins=(pin_file,)))
    assert [image for _, image in images(release["spec"]["manifests"][0])] == [
        f"registry.internal:5000/init:1@{DIGEST}",
        f"redis@{DIGEST}",
        f"redis:7@{DIGEST}",
    ]


@pytest.mark.requires("render.pins")
@pytest.mark.parametrize(
    "pins",
    [
        "a b c\n",
        "redis: sha256:12\n",
        "- redis\n",
        "a: [\n",
        f"r@x: {DIGEST}\n",
        f"r {DIGEST}\nr sha256:{'0' * 64}\n",
    ],
)
def test_a_bad_pin_file_is_refused_by_name(tmp_path: Path, pins: str) -> None:
    pin_file = tmp_path / "pins"
    pin_file.write_text(pins)
    (tmp_path / "app").mkdir()
    write(tmp_path / "app", a=DEPLOYMENT)
    error = refusal_of(tmp_path / "app", RenderOptions(name="r", clusters=("east",), pins=(pin_file,)))
    assert error.code is Code.PIN_FILE_INVALID
    assert error.facts["file"] == str(pin_file)


@pytest.mark.requires("render.secrets")
def test_every_secret_with_data_is_named(tmp_path: Path) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\n"
    text = "---\n".join(
        [
            secret.replace("NAME", "empty"),
            secret.replace("NAME", "a") + "data: {k: dg==}\n",
            secret.replace("NAME", "b") + "stringData: {k: v}\n",
        ]
    )
    error = refusal_of(write(tmp_path, a=text))
    assert error.code is Code.SECRET_WITH_DATA
    assert [entry["object"] for entry in error.facts["objects"]] == [
        "v1/Secret/default/a",
        "v1/Secret/default/b",
    ]


@pytest.mark.requires("render.source-bounded")
def test_links_out_of_the_source_and_missing_sources_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(CONFIG)
    app = tmp_path / "app"
    app.mkdir()
    (app / "a.yaml").symlink_to(tmp_path / "secret.yaml")
    assert refusal_of(app).code is Code.SOURCE_MISSING
    (app / "a.yaml").unlink()
    assert refusal_of(app).code is Code.SOURCE_MISSING
    assert refusal_of(tmp_path / "nowhere").code is Code.SOURCE_MISSING


@pytest.mark.requires("render.source-bounded")
def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).symlink_to(".")
    assert refusal_of(tmp_path).code is Code.LIMIT_EXCEEDED


@pytest.mark.requires("render.source-bounded")
def test_release_yaml_names_no_absolute_path(tmp_path: Path) -> None:
    (tmp_path / "release.yaml").write_text(RELEASE + "spec: {source: {path: /}}\n")
    assert refusal_of(tmp_path).code is Code.FIELD_INVALID


@pytest.mark.requires("render.inputs")
def test_the_shared_guestbook_renders_with_pins() -> None:
    path = shared_input("guestbook/guestbook-all-in-one.yaml")
    release = render(path, RenderOptions(clusters=("east",), pins=(EXAMPLES / "pins.yaml",)))
    assert release["metadata"]["name"] == "guestbook-all-in-one"
    assert len(ids(release)) == 6
    assert all(is_pinned(image) for manifest in release["spec"]["manifests"] for _, image in images(manifest))


@pytest.mark.requires("render.any-bytes")
@pytest.mark.parametrize("entry", ["x" * 300, "a\\0b", "loop"])
def test_paths_no_file_can_have_are_missing_sources(tmp_path: Path, entry: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "kustomization.yaml").write_text(f'resources: ["{entry}"]\n')
    assert refusal_of(tmp_path).code is Code.SOURCE_MISSING
    (tmp_path / "release.yaml").write_text(RELEASE + f'spec: {{source: {{path: "{entry}"}}}}\n')
    assert refusal_of(tmp_path).code is Code.SOURCE_MISSING
    assert refusal_of(tmp_path / entry.replace("\\0", "\0")).code is Code.SOURCE_MISSING
