"""``conclave diff``: what a source or a proposal would change, on the ledger or on a cluster.

Promises to render exactly as ``propose`` would, to compare with verified content only, and that ``--plan``
shows the steps of the bridge's own planner. Changes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conclave import changes
from conclave.client import Client, connect, freshness
from conclave.command import Session, verb
from conclave.completion import cluster_names
from conclave.verbs.judge import which
from conclave.verbs.source_options import newest_manifests, render_source, source_options, targets_text
from consensus import release_reader
from consensus.reader import View
from k8s_bridge.plan import WRITING
from ledger.changes import Change, Release, read_release
from ledger.errors import Code, Refused
from ledger.types import JsonObject

if TYPE_CHECKING:
    from conclave.plan_preview import Place, Preview

_ON_LEDGER = re.compile(r"(release|proposal)/([^/]+)")


@verb(
    "diff",
    "conclave diff examples/guestbook",
    "conclave diff ./chart --values production.yaml --exit-code",
    "conclave diff proposal/7 --plan east",
    "conclave diff release/guestbook --plan east --kubeconfig ~/.kube/config -o json",
    "conclave diff examples/guestbook --plan east",
)
@source_options
@click.option(
    "--plan",
    "cluster",
    metavar="CLUSTER",
    shell_complete=cluster_names,
    help="Show the steps that this cluster's bridge would take.",
)
@click.option(
    "--kubeconfig",
    metavar="FILE",
    help="How to reach the cluster, with your own rights [KUBECONFIG, else the devkube that up made].",
)
@click.option("--impersonate", is_flag=True, help="Ask as the account of the release's scope.")
@click.option("--exit-code", is_flag=True, help="Exit 1 if there are differences.")
def command(
    session: Session,
    source: Path,
    *,
    cluster: str | None,
    kubeconfig: str | None,
    impersonate: bool,
    exit_code: bool,
    **flags: Any,
) -> int:
    """Show what a source would change.

    SOURCE is a YAML file, a folder of YAML files, a kustomization, a Helm chart, or a release.yaml; or
    proposal/NUMBER for what an open proposal would change, or release/NAME, with --plan, for what is wanted
    now. Without --plan it is compared with the newest final revision of the ledger.

    With --plan it is compared with the cluster, as its bridge does: the same planner decides, from what the
    ledger proves, the inventory on the cluster, and a look at every object by dry runs with your own rights
    (reading, and patching in dry runs). The steps come in the order the bridge takes them: namespaces and
    definitions first, then kind after kind, then what is pruned. Values of Secrets are masked. Where
    admission lets only the bridge write, --impersonate asks as the account it would write as, which takes the
    right to impersonate. Objects that the bridge lets rest because others contest them are not known here.

    Exits 0 whether or not there are differences, unless --exit-code is given.
    """
    with connect(session) as client:
        view = client.view()
        if cluster is None:
            if kubeconfig or impersonate:
                raise Refused(Code.USAGE, got="--kubeconfig or --impersonate", expected="with --plan only")
            differs = _against_ledger(session, client, view, source, flags)
        else:
            # The Kubernetes client costs time and memory: who compares with the ledger pays nothing.
            from conclave.plan_preview import Place

            place = Place(cluster, kubeconfig, impersonate)
            differs = _against_cluster(session, view, _preview(client, view, place, source, flags), cluster)
    return 1 if exit_code and differs else 0


def _against_ledger(
    session: Session, client: Client, view: View, source: Path, flags: dict[str, Any]
) -> bool:
    release = _release_of(client, view, source, flags)
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
    return any(change.kind != "unchanged" for change in found)


def _release_of(client: Client, view: View, source: Path, flags: dict[str, Any]) -> JsonObject:
    """Render a source, or give the release that a proposal proposes."""
    kind, name = _on_ledger(source, flags)
    if kind is None:
        return render_source(client, view, source, flags)
    change = release_reader.proposed(view, which(name)).value.change if kind == "proposal" else None
    if not isinstance(change, Release):
        raise Refused(
            Code.USAGE,
            got=f"{kind}/{name} without --plan",
            expected="a source, or the proposal of a release",
            todo="add --plan CLUSTER to see what its bridge would do",
        )
    clusters = {"clusters": list(change.clusters)} if change.clusters else {}
    spec = change.spec | clusters | {"manifests": change.manifests}
    return {"metadata": {"name": change.name}, "spec": spec}


def _preview(client: Client, view: View, place: Place, source: Path, flags: dict[str, Any]) -> Preview:
    from conclave import plan_preview

    known = release_reader.clusters(view).value
    if place.cluster not in known:
        raise Refused(
            Code.CLUSTER_UNKNOWN,
            got=place.cluster,
            expected=", ".join(known),
            todo="see: conclave get clusters",
        )
    kind, name = _on_ledger(source, flags)
    if kind == "release":
        return plan_preview.of_release(client, view, place, name)
    if kind == "proposal":
        return plan_preview.of_proposal(client, view, place, which(name))
    release = render_source(client, view, source, flags)
    required = release_reader.parameters(view).value.image_digest_required
    change: Change = read_release(release, image_digest_required=required, where="release")
    return plan_preview.of_change(client, view, place, change)


def _on_ledger(source: Path, flags: dict[str, Any]) -> tuple[str | None, str]:
    """Tell whether the source is something of the ledger; a file of that name comes first."""
    found = None if source.exists() else _ON_LEDGER.fullmatch(str(source))
    if found is None:
        return None, ""
    given = sorted(name for name, value in flags.items() if value not in (None, ()))
    if given:
        raise Refused(Code.USAGE, got=f"--{', --'.join(given)} with {source}", expected="options of a source")
    return found[1], found[2]


def _against_cluster(session: Session, view: View, preview: Preview, cluster: str) -> bool:
    from conclave import plan_text

    revision, output = preview.revision, session.output
    document = {
        "release": revision.name,
        "revision": revision.revision,
        "state": revision.state.value,
        "cluster": cluster,
        "server": preview.server,
        "wave": None if preview.wave is None else {"number": preview.wave[0], "of": preview.wave[1]},
        "frozen": list(preview.frozen),
        "steps": plan_text.steps_json(preview),
        "readAt": freshness(view),
    }
    if not output.document(document):
        wave = f", wave {preview.wave[0]} of {preview.wave[1]}" if preview.wave else ""
        what = "deletion" if revision.state.value == "deleted" else f"revision {revision.revision}"
        output.line(f"release {revision.name}, {what}, on {cluster} ({preview.server}){wave}", "bold")
        for name in preview.frozen:
            output.line(f"frozen by {name}: the bridge does nothing of this until it is removed", "bad")
        plan_text.show(preview, output)
    return any(step.action in WRITING for step in preview.steps)
