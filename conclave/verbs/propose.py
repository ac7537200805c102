"""``conclave propose``: render, sign and submit a release, or a change of ledger objects.

Promises that what is signed is what was rendered and shown, and that success is told only with a proven
receipt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conclave import changes
from conclave.client import connect
from conclave.command import Session, verb
from conclave.verbs.proposing import Wording, proposal_options, receipt_json, submit_change, tell
from conclave.verbs.source_options import change_of, newest_manifests, source_options, targets_text
from consensus.submit import ProvenReceipt
from ledger.types import JsonObject


@verb(
    "propose",
    "conclave propose examples/guestbook --as alice",
    "conclave propose examples/web-chart --values production.yaml --reason 'more replicas'",
    "conclave propose ./kustomize -n podinfo --create-namespace --name podinfo --pin pins.yaml",
    "conclave propose examples/constitution --reason 'dave joins' --as alice",
    "conclave propose ./hotfix --break-glass outage --as bob",
)
@source_options
@proposal_options
def command(session: Session, source: Path, *, reason: str, break_glass: str | None, **flags: Any) -> None:
    """Render, sign and submit a release, or a change of ledger objects.

    SOURCE is a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml. YAML of
    ledger objects (Role, RoleBinding, ApprovalRule, BreakGlass, Identity, Cluster, Parameters, Validator,
    Upgrade) is one change: all of it or nothing.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        view = client.view()
        change, against = change_of(client, view, source, flags)
        old: list[JsonObject] = []
        if "release" in change:
            old, _ = newest_manifests(view, change["release"]["metadata"]["name"])
        proven = submit_change(client, speaker, change, Wording(reason, break_glass), against)
    if "configure" in change:
        named = [f"{o['kind']}/{o['metadata']['name']}" for o in change["configure"]["put"]]
        tell(session, proven, f"put {', '.join(named)}; by {speaker.name}", {"put": named})
        return
    found = changes.compare(old, change["release"]["spec"]["manifests"])
    _tell_release(session, proven, change["release"], found, against)


def _tell_release(
    session: Session,
    proven: ProvenReceipt,
    release: JsonObject,
    found: list[changes.Change],
    against: int | None,
) -> None:
    name, spec = release["metadata"]["name"], release["spec"]
    document = receipt_json(proven) | {
        "release": name,
        "clusters": spec.get("clusters"),
        "against": against or None,
        "provenance": spec["provenance"],
        "changes": [{"object": change.object, "change": change.kind} for change in found],
    }
    if session.output.document(document):
        return
    receipt = proven.receipt
    session.output.line(f"proposal {receipt.number} ({receipt.proposal}) at height {proven.height}", "bold")
    session.output.line(f"release {name} on {targets_text(spec)}")
    changes.show(found, session.output, full=False)
    session.output.line(f"next: conclave approve {receipt.number} --as NAME")
