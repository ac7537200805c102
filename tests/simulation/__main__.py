"""``python -m tests.simulation SEED``: print the results and the root of a seed's history, for comparison."""

from __future__ import annotations

import sys

from ledger.types import sha256
from tests.simulation.blocks import BlockSource
from tests.support.application import Chain

HEIGHTS = 20


def main(seed: int) -> str:
    """Give one line per height: app hash and the digest of the results."""
    source, chain = BlockSource(seed), Chain()
    lines = [chain.start().hex()]
    for height in range(1, HEIGHTS + 1):
        response = chain.block(source.block(height))
        results = b"".join(
            result.code.to_bytes(4, "big") + sha256(result.data) + result.log.encode()
            for result in response.tx_results
        )
        lines.append(f"{response.app_hash.hex()} {sha256(results).hex()}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(main(int(sys.argv[1])) + "\n")
