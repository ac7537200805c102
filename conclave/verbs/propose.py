"""``conclave propose``: render, sign and submit a release.

Promises that what is signed is what was rendered and shown, and that success is told only with a proven
receipt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from conclave import changes
from conclave.client import connect
from conclave.command import Session, verb
from conclave.verbs.source_options import newest_manifests, render_source, source_options
from ledger.bodies import release_body


@verb(
    "propose",
    "conclave propose examples/guestbook --as alice",
    "conclave propose examples/web-chart --values production.yaml --reason 'more replicas'",
    "conclave propose ./kustomize -n podinfo --create-namespace --name podinfo --pin pins.yaml",
)
@source_options
@click.option("--reason", default="", metavar="TEXT", help="Why, for those who approve.")
def command(session: Session, source: Path, *, reason: str, **flags: Any) -> None:
    """Render, sign and submit a release.

    SOURCE is a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        view = client.view()
        release = render_source(client, view, source, flags)
        name = release["metadata"]["name"]
        old, revision = newest_manifests(view, name)
        proven = client.say(speaker, release_body(release, reason=reason, against=revision))
    found = changes.compare(old, release["spec"]["manifests"])
    receipt = proven.receipt
    document = {
        "proposal": receipt.proposal,
        "number": receipt.number,
        "state": receipt.state,
        "height": proven.height,
        "release": name,
        "clusters": release["spec"]["clusters"],
        "against": revision or None,
        "provenance": release["spec"]["provenance"],
        "changes": [{"object": change.object, "change": change.kind} for change in found],
    }
    if session.output.document(document):
        return
    session.output.line(f"proposal {receipt.number} ({receipt.proposal}) at height {proven.height}", "bold")
    session.output.line(f"release {name} on {', '.join(release['spec']['clusters'])}, by {speaker.name}")
    changes.show(found, session.output, full=False)
    session.output.line(f"next: conclave approve {receipt.number} --as NAME")
