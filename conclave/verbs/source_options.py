"""The options of verbs that render a source.

Owns how flags become ``RenderOptions``; shared by ``diff`` and ``propose`` so that what was compared is
what is proposed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from conclave.client import Client
from conclave.render import ledger_objects
from conclave.render.release import RenderOptions, render
from consensus import release_reader
from consensus.reader import View
from ledger.errors import Code, Refused
from ledger.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)


def source_options(function: F) -> F:
    """Add the source argument and the options that override release.yaml."""
    for decorate in (
        click.option(
            "--pin", "pins", multiple=True, type=_FILE, metavar="FILE", help="Maps tags to digests."
        ),
        click.option("--values", multiple=True, type=_FILE, metavar="FILE", help="Values for a chart."),
        click.option(
            "--create-namespace/--no-create-namespace", default=None, help="Add a Namespace object."
        ),
        click.option("-n", "--namespace", metavar="NAME", help="Where namespaced objects go by default."),
        click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Target cluster."),
        click.option("--name", metavar="NAME", help="Name of the release [the folder's or file's]."),
        click.argument("source", type=_FILE),
    ):
        function = decorate(function)
    return function


def render_source(client: Client, view: View, source: Path, flags: dict[str, Any]) -> JsonObject:
    """Render ``source`` with the flags, the home's only cluster and the ledger's parameters.

    Raises:
        ConclaveError: as ``conclave.render.release.render``; CLUSTER_UNKNOWN.
    """
    default = client.home.clusters if len(client.home.clusters) == 1 else ()
    required = release_reader.parameters(view).value.image_digest_required
    options = RenderOptions(default_clusters=default, image_digest_required=required, **flags)
    release = render(source, options)
    known = release_reader.clusters(view).value
    unknown = [cluster for cluster in release["spec"].get("clusters", ()) if cluster not in known]
    if unknown:
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=", ".join(unknown),
            expected=", ".join(known),
            todo="see: conclave get clusters",
        )
    return release


def change_of(
    client: Client, view: View, source: Path, flags: dict[str, Any]
) -> tuple[JsonObject, int | None]:
    """Give the change that proposes ``source``, and the revision it is made for if it is a release.

    Raises:
        ConclaveError: as ``render_source`` and ``ledger_objects.find``; USAGE for a release's flags with
            ledger objects.
    """
    put = ledger_objects.find(source) if source.exists() else None
    if put is None:
        release = render_source(client, view, source, flags)
        _, revision = newest_manifests(view, release["metadata"]["name"])
        return {"release": release}, revision
    given = sorted(name for name, value in flags.items() if value not in (None, ()))
    if given:
        raise Refused(
            Code.USAGE,
            got=f"--{', --'.join(given)} with ledger objects",
            expected="options of a release for a release only",
            todo="leave them out",
        )
    return {"configure": {"put": put}}, None


def targets_text(spec: JsonObject) -> str:
    """Say where a release goes: its clusters, or the labels that choose them."""
    if "selector" in spec:
        labels = spec["selector"]["matchLabels"]
        return "clusters with " + ", ".join(f"{key}={value}" for key, value in labels.items())
    return ", ".join(spec["clusters"])


def newest_manifests(view: View, name: str) -> tuple[list[JsonObject], int]:
    """Give the manifests of a release's newest final revision and its number; none and 0 before the first.

    Raises:
        VerificationFailed: what does not verify.
    """
    try:
        record = release_reader.release_record(view, name).value
    except Refused as error:
        if error.code is not Code.RELEASE_UNKNOWN:
            raise
        return [], 0
    revision = release_reader.release(view, record.clusters[0], name, revision=record.revision).value
    return list(revision.manifests), revision.revision
