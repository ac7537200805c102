"""``python -m tests.simulation [SEED [BLOCKS [SEEDS]]]``: the simulation as a campaign.

Prints one line a height (app hash, digest of the results) for one seed, one line a seed for more. A failure
names its seed and height and exits non-zero.
"""

from __future__ import annotations

import logging
import sys
import time

from ledger.errors import Code
from tests.simulation.network import Network, network

BLOCKS = 200


def trace(seed: int, blocks: int = BLOCKS) -> str:
    """Give one line per height: app hash and the digest of the results."""
    with network(seed) as simulated:
        lines = [simulated.block() for _ in range(blocks)]
        simulated.settle()
    return "\n".join(lines)


def summary(seed: int, simulated: Network, seconds: float) -> str:
    """Give what one seed's history held."""
    audit = simulated.audit
    return (
        f"seed {seed}: {simulated.height} blocks, {len(simulated.replicas)} replicas, "
        f"{audit.codes.total()} transactions, {audit.codes[Code.OK]} accepted, {len(audit.codes)} codes, "
        f"{audit.recount.finals} finals, {simulated.crashes} crashes, {simulated.lost_rounds} rounds lost, "
        f"{seconds:.1f} s"
    )


def main(seed: int, blocks: int, seeds: int) -> None:
    """Run ``seeds`` histories of ``blocks`` blocks each, from ``seed`` on."""
    logging.disable(logging.WARNING)  # refused proposals are part of the story
    if seeds == 1:
        sys.stdout.write(trace(seed, blocks) + "\n")
        return
    for number in range(seed, seed + seeds):
        start = time.monotonic()
        with network(number) as simulated:
            for _ in range(blocks):
                simulated.block()
            simulated.settle()
            sys.stdout.write(summary(number, simulated, time.monotonic() - start) + "\n")


if __name__ == "__main__":
    arguments = [*map(int, sys.argv[1:]), *(1, BLOCKS, 1)[len(sys.argv) - 1 :]]
    main(*arguments)
