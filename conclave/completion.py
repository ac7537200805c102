"""What shell completion asks the ledger and the home for. Promises silence where there is none to ask.

Imports nothing heavy before it is asked: help must come at once.
"""

from __future__ import annotations

import click

from ledger.errors import ConclaveError

_PROPOSALS_MAX = 20
"""Of the newest, which are the ones that people type."""


def release_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a release; nothing where the ledger cannot be read."""
    return [name for name in _names(ctx, proposals=False) if name.startswith(incomplete)]


def release_or_proposal_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a release or the number of a recent proposal."""
    return [name for name in _names(ctx, proposals=True) if name.startswith(incomplete)]


def process_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of what has a log in this home."""
    from conclave.home import load
    from conclave.log_files import log_files

    try:
        names = [log.name for log in log_files(load(ctx.find_root().obj.home))]
    except ConclaveError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def cluster_names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a cluster of this home."""
    from conclave.home import load

    try:
        names = load(ctx.find_root().obj.home).clusters
    except ConclaveError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _names(ctx: click.Context, *, proposals: bool) -> list[str]:
    from conclave.client import connect
    from consensus import release_reader

    try:
        with connect(ctx.find_root().obj) as client:
            view = client.view()
            names = list(release_reader.all_releases(view).value)
            found = release_reader.proposals(view, newest=_PROPOSALS_MAX).value if proposals else ()
    except ConclaveError:
        return []
    return names + [str(record.number) for record in found]
