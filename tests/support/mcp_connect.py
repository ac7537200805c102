"""The robot over streams, to a server over HTTP: ``python -m tests.support.mcp_connect URL CA``."""

from __future__ import annotations

import sys
from pathlib import Path

from mcp_server import proxy
from tests.support.ledger import ROBOT

if __name__ == "__main__":
    proxy.run(sys.argv[1], ROBOT.did, ROBOT, Path(sys.argv[2]))
