"""A simulated network of validators: gossip, rounds, crashes and restarts, all from one seed.

Owns ``Network``. Promises that the same seed tells the same story to the byte, that no more replicas are away
than a BFT network allows while it decides, and that everything is judged after every block.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ledger.limits import BLOCK_BYTES_MAX
from ledger.pb import abci_pb2 as pb
from ledger.types import sha256
from tests.simulation.audit import Audit
from tests.simulation.replica import CRASHES, Decided, Replica
from tests.simulation.traffic import Traffic
from tests.simulation.world import GENESIS_SECONDS, World

ROUNDS_MAX = 60
WHOLE_EVERY = 50
"""How often, in blocks, the app hash is computed anew from everything ever written."""
SECONDS_PER_BLOCK_MAX = 12
RAM_DISK = Path("/dev/shm")


class Network:
    """Some replicas, one chain."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.world = World.of(self._chance)
        self.audit = Audit(self.world)
        self.blocks: list[Decided] = []
        self.crashes = 0
        self.lost_rounds = 0
        self._traffic = Traffic(self._chance, self.world, self.audit.recount)
        self.time = GENESIS_SECONDS
        self._underway: list[tuple[int, bytes]] = []
        on_disk = self._chance.randrange(1, 3)
        self.replicas = [
            Replica(self.world.init_chain, folder / str(number) if number < on_disk else None)
            for number in range(self.world.replicas)
        ]
        for replica in self.replicas:
            replica.start(())

    def close(self) -> None:
        """Release every store."""
        for replica in self.replicas:
            replica.close()

    @property
    def height(self) -> int:
        """The newest decided height."""
        return len(self.blocks)

    def block(self) -> str:
        """Live through one height; give its app hash and the digest of its results."""
        self.time += self._chance.randrange(1, SECONDS_PER_BLOCK_MAX)
        self._restart()
        self._gossip()
        txs = self._decide()
        response = self._execute(txs)
        results = b"".join(result.SerializeToString() for result in response.tx_results)
        if self.height % WHOLE_EVERY == 0:
            self.audit.whole(response.app_hash)
        return f"{response.app_hash.hex()} {sha256(results).hex()}"

    def settle(self) -> None:
        """Bring everybody up and compare what they hold."""
        for replica in self._down():
            replica.start(self.blocks)
        newest = self.blocks[-1].response.app_hash
        for replica in self.replicas:
            assert replica.up.info() == (self.height, newest), "a replica with another state"
        self.audit.whole(newest)

    def _percent(self, share: int) -> bool:
        return self._chance.randrange(100) < share

    def _down(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.chain is None]

    def _restart(self) -> None:
        """Let some come back; never leave more away than the others can decide without."""
        away = self._down()
        for number, replica in enumerate(away):
            if len(away) - number > self.world.faulty or self._percent(40):
                replica.start(self.blocks)

    def _gossip(self) -> None:
        """New transactions enter at one replica and reach the others late, in any order, or never."""
        live = [number for number, replica in enumerate(self.replicas) if replica.chain is not None]
        for tx in self._traffic.block(self.height + 1):
            entry = self._chance.choice(live)
            if self.replicas[entry].offer(tx) == 0:
                self._underway += [(number, tx) for number in live if number != entry]
        self._chance.shuffle(self._underway)
        late = []
        for number, tx in self._underway:
            if self._percent(25):
                late.append((number, tx))
            elif self.replicas[number].chain is not None and not self._percent(10):
                self.replicas[number].offer(tx)
        self._underway = late

    def _decide(self) -> list[bytes]:
        """Go through rounds until a proposal is accepted and not lost; give its transactions."""
        live = [replica for replica in self.replicas if replica.chain is not None]
        for number in range(ROUNDS_MAX):
            proposer = self.replicas[(self.height + number) % len(self.replicas)]
            if proposer.chain is None:
                continue
            hostile = self._percent(15)
            txs = self._hostile_block() if hostile else self._honest_block(proposer)
            verdicts = [replica.up.process(txs) for replica in live if not self._percent(5)]
            assert len(set(verdicts)) <= 1, "verdicts differ"
            assert all(verdicts) or hostile, "an honest proposal was rejected"
            if verdicts and all(verdicts) and not self._percent(15):
                return txs
            self.lost_rounds += 1
            if self._percent(10):
                self._chance.choice(live).up.finalize(txs)
        raise AssertionError(f"no decision in {ROUNDS_MAX} rounds")

    def _honest_block(self, proposer: Replica) -> list[bytes]:
        room = self._chance.choice((BLOCK_BYTES_MAX, BLOCK_BYTES_MAX, 1500))
        waiting = list(proposer.mempool)
        txs = proposer.up.prepare(waiting, room)
        assert sum(map(len, txs)) <= room, "more than the block holds"
        assert len(set(txs)) == len(txs), "something twice"
        assert set(txs) <= set(waiting), "what does not wait"
        return txs

    def _hostile_block(self) -> list[bytes]:
        """What only a Byzantine proposer offers: replays, twice the same, sometimes garbage among them."""
        txs = [self._traffic.old() for _ in range(self._chance.randrange(5))]
        txs += self._chance.choices(txs, k=1) if txs else []
        if self._percent(30):
            txs.insert(self._chance.randrange(len(txs) + 1), self._traffic.garbage())
        return txs

    def _execute(self, txs: list[bytes]) -> pb.ResponseFinalizeBlock:
        """Execute the decided block everywhere, with crashes on the way; judge the outcome."""
        live = [replica for replica in self.replicas if replica.chain is not None]
        # One replica is spared, so that there is an answer; it is another one each time.
        spared = self._chance.choice(live)
        answer = spared.execute(txs, self.time, "")
        assert answer is not None
        for replica in live:
            if replica is not spared:
                crash = self._chance.choice(CRASHES) if self._percent(4) else ""
                self.crashes += bool(crash)
                response = replica.execute(txs, self.time, crash)
                assert response in (None, answer), "answers differ"
        self.blocks.append(Decided(tuple(txs), self.time, answer))
        assert spared.store.staged is not None
        self.audit.block(txs, self.time, answer, spared.store.staged.changes)
        return answer


@contextmanager
def network(seed: int) -> Iterator[Network]:
    """Give the network of a seed, its stores on a RAM disk where there is one; a failure names the seed."""
    place = RAM_DISK if RAM_DISK.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="conclave-simulation-", dir=place))
    simulated = Network(seed, folder)
    try:
        yield simulated
    except BaseException as error:
        blocks = simulated.height + 1
        error.add_note(
            f"seed {seed}, height {blocks}; again: make campaign-simulation SEED={seed} BLOCKS={blocks}"
        )
        raise
    finally:
        simulated.close()
        shutil.rmtree(folder, ignore_errors=True)
