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
from conclave.verbs.proposing import (
    Submitted,
    Wording,
    proposal_options,
    receipt_json,
    show_next,
    show_receipt,
    submit_change,
    tell,
)
from conclave.verbs.source_options import change_of, newest_manifests, source_options, targets_text
from k8s_bridge.inventory import check_room
from k8s_bridge.objects import key_of
from ledger.types import JsonObject


@verb(
    "propose",
    "conclave propose examples/guestbook --as alice",
    "conclave propose examples/web-chart --values production.yaml --dry-run",
    "conclave propose ./kustomize -n podinfo --create-namespace --name podinfo --pin pins.yaml",
    "conclave propose examples/constitution --reason 'dave joins' --as alice",
    "conclave propose ./hotfix --break-glass outage --as bob",
)
@source_options
@proposal_options
def command(
    session: Session, source: Path, *, reason: str, break_glass: str | None, only_tried: bool, **flags: Any
) -> None:
    """Render, sign and submit a release, or a change of ledger objects.

    SOURCE is a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml. YAML of
    ledger objects (Role, RoleBinding, ApprovalRule, BreakGlass, Identity, Cluster, Parameters, Validator,
    Upgrade, AgentPolicy) is one change: all of it or nothing.

    A node is asked first whether it would pass; what it answers is its word, and the proposal carries the
    digest of it. With --dry-run that is all that is done.
    """
    with connect(session) as client:
        view = client.view()
        change, against = change_of(client, view, source, flags)
        old: list[JsonObject] = []
        if "release" in change:
            name = change["release"]["metadata"]["name"]
            old, _ = newest_manifests(view, name)
            check_room(name, map(key_of, change["release"]["spec"]["manifests"]), map(key_of, old))
        made = submit_change(session, client, change, Wording(reason, break_glass, only_tried), against)
    if made is None:
        return
    if "configure" in change:
        named = [f"{o['kind']}/{o['metadata']['name']}" for o in change["configure"]["put"]]
        tell(session, made, f"put {', '.join(named)}; by {made.speaker}", {"put": named})
        return
    found = changes.compare(old, change["release"]["spec"]["manifests"])
    _tell_release(session, made, change["release"], found, against)


def _tell_release(
    session: Session,
    made: Submitted,
    release: JsonObject,
    found: list[changes.Change],
    against: int | None,
) -> None:
    name, spec = release["metadata"]["name"], release["spec"]
    document = receipt_json(made) | {
        "release": name,
        "clusters": spec.get("clusters"),
        "against": against or None,
        "provenance": spec["provenance"],
        "changes": [{"object": change.object, "change": change.kind} for change in found],
    }
    if session.output.document(document):
        return
    show_receipt(session, made)
    session.output.line(f"release {name} on {targets_text(spec)}")
    changes.show(found, session.output, full=False)
    show_next(session, made)
