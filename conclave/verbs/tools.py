"""``conclave tools``: find or build the external programs, with progress."""

from __future__ import annotations

import click

from conclave.command import Session, verb
from conclave.programs import Tool, program
from ledger.errors import Code, Refused
from runtime.tools import OPTIONAL


@verb("tools", "conclave tools", "conclave tools cometbft kustomize", "conclave tools -o json")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(session: Session, names: tuple[str, ...]) -> None:
    """Find or build the external programs (all that a ledger needs, or those named)."""
    known = {tool.label: tool for tool in Tool}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise Refused(Code.USAGE, got=unknown, expected=" | ".join(known), todo="see: conclave tools --help")
    chosen = [known[name] for name in names] or [tool for tool in Tool if tool not in OPTIONAL]
    items = [
        {
            "name": tool.label,
            "version": tool.value.version or "this checkout",
            "path": str(program(tool, session.output.note)),
        }
        for tool in chosen
    ]
    if not session.output.document({"items": items}):
        session.output.table(["name", "version", "path"], [list(item.values()) for item in items])
