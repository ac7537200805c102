"""``conclave get``: the ledger's objects, with proof.

Promises that everything shown was proven against a verified header.
"""

from __future__ import annotations

import click

from conclave.client import connect, freshness
from conclave.command import Session, verb
from conclave.verbs.kinds import KINDS, kind_of


def _starting(_ctx: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(word)]


@verb(
    "get",
    "conclave get releases",
    "conclave get proposal 1 -o yaml",
    "conclave get release guestbook -o json",
    "conclave get identity alice -o yaml",
    "conclave get observations scout",
)
@click.argument("kind", metavar="KIND", shell_complete=_starting)
@click.argument("name", required=False)
def command(session: Session, kind: str, name: str | None) -> None:
    """Read objects of the ledger, with proof.

    KIND is one of releases, proposals, rollouts, reports, incidents, freezes, identities, clusters, roles,
    bindings, rules, break-glasses, validators, parameters, agentpolicies, suspensions, anchors, observations
    (what an agent wrote, to be read with care). With NAME, and with -o json or yaml, a release
    comes with its manifests and a proposal with its change; identities come with all their keys.
    """
    table = kind_of(kind)
    with connect(session) as client:
        view = client.view()
        items = table.read(view, name)
        if not session.output.document({"items": items, "readAt": freshness(view)}):
            session.output.table(table.columns, [table.cells(client, item) for item in items])
