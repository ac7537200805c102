"""``conclave diff``: what a source would change, compared with the newest final revision.

Promises to render exactly as ``propose`` would and to compare with verified content only. Changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conclave import changes
from conclave.client import connect, freshness
from conclave.command import Session, verb
from conclave.verbs.source_options import newest_manifests, render_source, source_options, targets_text


@verb(
    "diff",
    "conclave diff examples/guestbook",
    "conclave diff examples/kustomize-app/production --pin examples/pins.yaml",
    "conclave diff ./chart --values production.yaml --exit-code",
)
@source_options
@click.option("--exit-code", is_flag=True, help="Exit 1 if there are differences.")
def command(session: Session, source: Path, *, exit_code: bool, **flags: Any) -> int:
    """Show what a source would change.

    SOURCE is a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml.
    Exits 0 whether or not there are differences, unless --exit-code is given.
    """
    with connect(session) as client:
        view = client.view()
        release = render_source(client, view, source, flags)
        name = release["metadata"]["name"]
        old, revision = newest_manifests(view, name)
    found = changes.compare(old, release["spec"]["manifests"])
    document = {
        "release": name,
        "revision": revision or None,
        "clusters": release["spec"].get("clusters"),
        "changes": changes.to_json(found),
        "readAt": freshness(view),
    }
    if not session.output.document(document):
        against = f"revision {revision}" if revision else "nothing: it is new"
        session.output.line(f"release {name} on {targets_text(release['spec'])}, against {against}", "bold")
        changes.show(found, session.output, full=True)
    differs = any(change.kind != "unchanged" for change in found)
    return 1 if exit_code and differs else 0
