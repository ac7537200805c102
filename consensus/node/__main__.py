"""``python -m consensus.node --home DIR --cometbft PATH``: one supervised node in the foreground.

Owns the process only: arguments, logs to standard error, the exit status (0 asked to stop, 78 refused or
given up). It imports little: a supervisor should cost next to nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from consensus.node.supervise import APPLICATION_MODULE, NodeUnit, run_node
from ledger.errors import ConclaveError
from runtime import log
from runtime.status import EXIT_OK, EXIT_PERMANENT


def main(argv: list[str] | None = None) -> int:
    """Run the node; give the exit status."""
    parser = argparse.ArgumentParser(prog="consensus.node", description="Runs one validator.")
    parser.add_argument("--home", type=Path, required=True, help="the node's folder")
    parser.add_argument("--cometbft", type=Path, required=True, help="the CometBFT binary")
    parser.add_argument("--application", default=APPLICATION_MODULE, help="the module to serve")
    arguments = parser.parse_args(argv)
    log.configure()
    try:
        run_node(NodeUnit(arguments.home, arguments.cometbft, arguments.application))
    except ConclaveError as error:
        log.event(logging.getLogger("node"), "gave up", level=logging.ERROR, **error.to_json())
        return EXIT_PERMANENT
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
