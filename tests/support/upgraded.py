"""``python -m tests.support.upgraded``: the application of a later release, which knows version 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from abci_app.__main__ import main
from abci_app.abci import Application
from abci_app.application import ConclaveApplication
from abci_app.machine.block import apply_block
from state.store import Store


def open_upgraded(home: Path) -> Application:
    """Open the application with both versions; the second judges like the first."""
    store = Store.open(home / "app")
    return cast("Application", ConclaveApplication(store, protocols={1: apply_block, 2: apply_block}))


if __name__ == "__main__":
    sys.exit(main(opener=open_upgraded))
