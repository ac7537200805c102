"""The versions of the machine's rules this binary knows, in one table.

Owns nothing else. A version comes into force at the height an ``Upgrade`` object names, on every node at
once; a binary that lacks it stops before that height. To change the rules: keep the old door, add a new one
under the next number, branch where they differ. Source: docs/spec/membership.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from abci_app.check import Constants
from abci_app.machine.block import Block, BlockResult, Opener, apply_block
from ledger.errors import Code, EnvironmentFault
from state.reader import Overlay

ApplyBlock = Callable[[Overlay, Block, Constants, Opener], BlockResult]

PROTOCOLS: Mapping[int, ApplyBlock] = {1: apply_block}


def rules_of(protocols: Mapping[int, ApplyBlock], version: int, height: int) -> ApplyBlock:
    """Give the rules of a version.

    Raises:
        EnvironmentFault: UPGRADE_REQUIRED where this binary does not know them.
    """
    found = protocols.get(version)
    if found is None:
        raise EnvironmentFault(
            Code.UPGRADE_REQUIRED,
            got=f"rules of version {max(protocols)}",
            expected=f"rules of version {version}, from height {height} on",
            todo="install a version of Conclave that knows them and start the node again; nothing is lost",
            height=height,
            version=version,
        )
    return found
