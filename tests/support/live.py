"""A running ledger with its cluster, for tests that go the whole way, and objects compared as returned."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conclave.demo.narrator import Narrator
from conclave.demo.stage import WAIT_S, Stage
from conclave.demo.story import clean_up, tell
from consensus import release_reader
from k8s_bridge.client import KubernetesClient
from k8s_bridge.objects import ObjectKey
from ledger.bodies import judgement_body, release_body
from ledger.types import API_VERSION, ActionKind, JsonObject
from tests.integration.nodes import free_base

CHAPTER_MADE, CHAPTER_UP = 1, 2
VALIDATORS = 4


@contextmanager
def running_ledger(folder: Path) -> Iterator[Stage]:
    """Give a ledger of four validators, a cluster and a bridge, all up; everything is gone afterwards."""
    given = os.environ.get("KUBECONFIG")
    stage = Stage(
        home=folder / "ledger",
        narrator=Narrator(io.StringIO()),
        namespace=f"live-{secrets.token_hex(2)}",
        kubeconfig=Path(given) if given else None,
    )
    try:
        stage.quietly("init", "--base-port", str(free_base(2 * VALIDATORS)))
        tell(stage, CHAPTER_UP, after=CHAPTER_MADE)
        yield stage
    finally:
        clean_up(stage)


def release(stage: Stage, name: str, *source: str, seconds: float = WAIT_S) -> JsonObject:
    """Propose ``source`` as release ``name``, approve it twice; wait until it is applied and told."""
    proposed = stage.quietly("propose", *source, "--name", name, "--as", "alice")
    revision = approve(stage, proposed["number"])
    assert revision is not None
    stage.wait_applied(revision, seconds, name)
    stage.until(f"{name} {revision} reported", lambda: _is_reported(stage, name, revision))
    return proposed


def _is_reported(stage: Stage, name: str, revision: int) -> bool:
    with stage.client() as client:
        told = release_reader.report(client.view(), "east", name).value
    return told is not None and (told.revision, told.outcome) == (revision, "applied")


def approve(stage: Stage, number: int) -> int | None:
    """Approve a proposal as bob and as carol, in this process; give the revision it makes."""
    revision = None
    with stage.client() as client:
        for name in ("bob", "carol"):
            record = release_reader.proposal(client.view(), number).value
            body = judgement_body(ActionKind.APPROVAL, record.id, record.digest, record.requirement)
            revision = client.say(client.home.subject(name), body).receipt.revision
    return revision


def sign_release(stage: Stage, name: str, manifests: list[JsonObject]) -> int:
    """Propose a release as alice with no look at its objects, as another client could; give its number."""
    provenance = {"source": "yaml", "digest": "ab" * 32, "renderer": "none"}
    spec = {"clusters": ["east"], "namespace": "default", "manifests": manifests, "provenance": provenance}
    proposed = {"apiVersion": API_VERSION, "kind": "Release", "metadata": {"name": name}, "spec": spec}
    with stage.client() as client:
        number = client.say(client.home.subject("alice"), release_body(proposed)).receipt.number
    assert number is not None
    return number


def signed_manifests(stage: Stage, name: str) -> list[JsonObject]:
    """Give the manifests of the newest revision, verified from genesis."""
    with stage.client() as client:
        return list(release_reader.release(client.view(), "east", name).value.manifests)


def differences(stage: Stage, manifest: JsonObject) -> list[str]:
    """Give the paths at which the API server's object is not what was signed; defaulted fields aside."""
    assert stage.cluster is not None
    metadata = manifest["metadata"]
    key = ObjectKey(manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"])
    live = KubernetesClient(stage.cluster).get(key)
    if live is None:
        return [f"{key}: absent"]
    return [f"{key}: {path}" for path in _missing(manifest, live, "")]


def _missing(signed: Any, live: Any, path: str) -> list[str]:
    if isinstance(signed, dict) and isinstance(live, dict):
        return [
            found
            for name, value in signed.items()
            for found in _missing(value, live.get(name), f"{path}.{name}")
        ]
    if isinstance(signed, list) and isinstance(live, list) and len(signed) == len(live):
        pairs = zip(signed, live, strict=True)
        return [
            found for i, (one, other) in enumerate(pairs) for found in _missing(one, other, f"{path}[{i}]")
        ]
    # The API server drops what is empty and writes quantities in their shortest form.
    if signed in (None, {}, [], "", 0, False) and live is None:
        return []
    return (
        []
        if signed == live or _quantity(signed) == _quantity(live)
        else [f"{path}: {signed!r} became {live!r}"]
    )


def _quantity(value: Any) -> Any:
    """Give a CPU quantity in millis, anything else as it is."""
    text = str(value)
    if text.endswith("m") and text[:-1].isdecimal():
        return float(text[:-1])
    return float(text) * 1000 if text.replace(".", "", 1).isdecimal() else value
