"""``conclave remove``: propose that ledger objects go."""

from __future__ import annotations

from typing import Any

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.verbs.proposing import Wording, proposal_options, submit_change, tell
from ledger import shape
from ledger.changes import REMOVE_KINDS, read_change
from ledger.errors import Code, Refused
from ledger.types import JsonObject


def _starting(_ctx: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
    return [f"{kind}/" for kind in REMOVE_KINDS if kind.lower().startswith(word.lower())]


@verb(
    "remove",
    "conclave remove Freeze/incident-7 --as alice",
    "conclave remove Suspension/scout --reason 'looked at the audit' --as alice",
    "conclave remove RoleBinding/operator-dave Identity/dave --reason 'dave left' --as alice",
)
@click.argument("objects", metavar="KIND/NAME...", nargs=-1, required=True, shell_complete=_starting)
@proposal_options
def command(session: Session, objects: tuple[str, ...], **wording: Any) -> None:
    """Propose to remove ledger objects, all of them or none.

    To remove an Identity ends it for ever; to remove a Freeze lets its scope go on, a Suspension its agent.
    """
    change: JsonObject = {"configure": {"remove": [_read(text) for text in objects]}}
    read_change(change, "change", image_digest_required=False)
    with connect(session) as client:
        made = submit_change(session, client, change, Wording(**wording))
    if made is None:
        return
    named = [f"{entry['kind']}/{entry['name']}" for entry in change["configure"]["remove"]]
    tell(session, made, f"remove {', '.join(named)}; by {made.speaker}", {"remove": named})


def _read(text: str) -> JsonObject:
    word, slash, name = text.partition("/")
    kind = next((kind for kind in REMOVE_KINDS if kind.lower() == word.lower()), None)
    if kind is None or not slash:
        raise Refused(
            Code.USAGE,
            got=text,
            expected=f"KIND/NAME, KIND one of {', '.join(REMOVE_KINDS)}",
            todo="see: conclave remove --help",
        )
    return {"kind": kind, "name": shape.name(name, "NAME")}
