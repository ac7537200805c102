"""``python -m tests.kvstore``: the kvstore served exactly as the real application is."""

from __future__ import annotations

import sys
from pathlib import Path

from abci_app.__main__ import main
from tests.kvstore.application import Kvstore


def open_kvstore(home: Path) -> Kvstore:
    return Kvstore(home / "kvstore.json")


if __name__ == "__main__":
    sys.exit(main(opener=open_kvstore))
