"""``conclave rollback``: propose the content of an earlier revision as a new one.

Promises to go through the same approvals as any change: this verb only proposes.
"""

from __future__ import annotations

from typing import Any

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.completion import release_names
from conclave.verbs.judge import show_rollback
from conclave.verbs.proposing import Wording, proposal_options, submit_change, tell
from consensus import release_reader


@verb(
    "rollback",
    "conclave rollback guestbook --to 1 --as alice",
    "conclave rollback guestbook --to 3 --reason 'frontend fails under load'",
)
@click.argument("release", metavar="RELEASE", shell_complete=release_names)
@click.option(
    "--to", "to_revision", type=click.IntRange(min=1), required=True, metavar="N", help="See history."
)
@proposal_options
def command(session: Session, release: str, to_revision: int, **wording: Any) -> None:
    """Propose an earlier revision again, as a new forward revision."""
    with connect(session) as client:
        view = client.view()
        found = show_rollback(session, view, release, to_revision)
        newest = release_reader.release_record(view, release).value.revision
        change = {"rollback": {"release": release, "toRevision": to_revision}}
        made = submit_change(session, client, change, Wording(**wording), newest)
    if made is None:
        return
    document = {
        "release": release,
        "toRevision": to_revision,
        "changes": [{"object": change.object, "change": change.kind} for change in found],
    }
    tell(session, made, f"{release} back to the content of revision {to_revision}", document)
