"""What ``pause`` and ``resume`` share: one signed action, in force with its block."""

from __future__ import annotations

from conclave.client import connect
from conclave.command import Session
from ledger.bodies import hold_body
from ledger.types import ActionKind


def hold(session: Session, release: str, kind: ActionKind, reason: str) -> None:
    """Pause or resume a release's rollout.

    Raises:
        ConclaveError: what signing or the ledger refuse.
    """
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        proven = client.say(speaker, hold_body(kind, release, reason=reason))
    state = "paused" if kind is ActionKind.PAUSE else "progressing"
    document = {"release": release, "rollout": state, "height": proven.height, "signer": speaker.did}
    if not session.output.document(document):
        session.output.line(f"the rollout of {release} is {state} since height {proven.height}", "bold")
