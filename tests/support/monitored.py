"""``python -m tests.support.monitored``: the real application, its calls noted by ``abci_monitor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from abci_app.__main__ import main, open_application
from abci_app.abci import Application
from tests.support.abci_monitor import Monitor


def open_monitored(home: Path) -> Application:
    """Open the real application under a monitor."""
    return cast("Application", Monitor(open_application(home), home))


if __name__ == "__main__":
    sys.exit(main(opener=open_monitored))
