"""``conclave get``: the ledger's objects, with proof.

Promises that everything shown was proven against a verified header.
"""

from __future__ import annotations

import click

from conclave.client import connect, freshness
from conclave.command import Session, verb
from conclave.verbs.kinds import KINDS, kind_of
from conclave.watching import Frame, lines_of, show_once_or_watch, watch_option
from consensus.reader import View
from ledger.errors import ConclaveError


def _named(ctx: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
    """Complete the name of an object of the kind; nothing where the ledger cannot be read."""
    try:
        table = kind_of(str(ctx.params.get("kind")))
        with connect(ctx.find_root().obj) as client:
            items = table.read(client.view(), None)
    except ConclaveError:
        return []
    names = (str(item.get("name", item.get("number", item.get("release", "")))) for item in items)
    return [name for name in names if name and name.startswith(word)]


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
@click.argument("name", required=False, shell_complete=_named)
@watch_option
def command(session: Session, kind: str, name: str | None, *, watch: bool) -> None:
    """Read objects of the ledger, with proof.

    KIND is one of releases, proposals, rollouts, reports, incidents, freezes, identities, clusters, roles,
    bindings, rules, break-glasses, validators, parameters. With NAME, and with -o json or yaml, a release
    comes with its manifests and a proposal with its change; identities come with all their keys.

    With --watch it is shown again at every change.
    """
    table, output = kind_of(kind), session.output
    with connect(session) as client:

        def frame_of(view: View) -> Frame:
            items = table.read(view, name)
            rows = [table.cells(client, item) for item in items]
            document = {"items": items, "readAt": freshness(view)}
            return Frame(document, items, lines_of(rows), lambda: output.table(table.columns, rows))

        show_once_or_watch(client, output, frame_of, watch=watch)
