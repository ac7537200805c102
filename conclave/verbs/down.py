"""``conclave down``: stop everything that ``conclave up`` started for this home."""

from __future__ import annotations

from conclave import processes
from conclave.command import Session, verb
from conclave.home import load


@verb("down", "conclave down", "conclave down --home ./ledger")
def command(session: Session) -> None:
    """Stop everything that up started: bridges, then validators, then clusters. Nothing is lost."""
    run = session.home / "run"
    if not run.is_dir():
        run = load(session.home).run
    stopped = processes.stop_all(run, session.output.note)
    if not session.output.document({"stopped": stopped}):
        session.output.line(f"stopped {len(stopped)} processes" if stopped else "nothing was running")
