"""What shell completion asks the ledger for. Promises silence where there is none to ask.

Imports nothing heavy before it is asked: help must come at once.
"""

from __future__ import annotations

import click

from ledger.errors import ConclaveError


def release_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a release; nothing where the ledger cannot be read."""
    from conclave.client import connect
    from consensus import release_reader

    try:
        with connect(ctx.find_root().obj) as client:
            names = release_reader.all_releases(client.view()).value
    except ConclaveError:
        return []
    return [name for name in names if name.startswith(incomplete)]
