"""``conclave explain``: would this pass, and what is still missing?

Promises to say that the answer is the node's word: nothing of it is proven, and nothing is changed by asking.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conclave import dry_runs
from conclave.client import connect
from conclave.command import Session, verb
from conclave.verbs.judge import which
from conclave.verbs.proposing import wording_options
from conclave.verbs.source_options import change_of, source_options
from consensus import release_reader
from ledger.bodies import proposal_body
from ledger.errors import Refused


@verb(
    "explain",
    "conclave explain 1",
    "conclave explain examples/guestbook --as alice",
    "conclave explain examples/constitution --as scout -o json",
)
@source_options
@wording_options
def command(session: Session, source: Path, *, reason: str, break_glass: str | None, **flags: Any) -> int:
    """Ask the node whether a proposal, or a source if proposed, would pass, and what it would need.

    SOURCE is what propose takes, or a proposal's number or id. The answer is the node's word, not a proof:
    verify checks what is proven. Exits 1 if it would be refused.
    """
    with connect(session) as client:
        number = _number(source)
        if number is not None:
            view = client.view()
            identifier = release_reader.proposal(view, number).value.id
            made = release_reader.proposed(view, identifier).value.dry_run
            answer = dry_runs.ask(client, {"proposal": identifier})
            dry_runs.show(session, answer, dryRun=made)
        else:
            speaker = client.home.speaker(session.as_name)
            change, against = change_of(client, client.view(), source, flags)
            body = proposal_body(change, reason=reason, against=against, break_glass=break_glass)
            answer = dry_runs.ask_of_body(client, speaker, body)
            dry_runs.show(session, answer)
    return 0 if answer.refusal is None else 1


def _number(source: Path) -> str | int | None:
    if source.exists():
        return None
    try:
        return which(str(source))
    except Refused:
        return None
