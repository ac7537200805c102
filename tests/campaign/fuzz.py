"""``python -m tests.campaign.fuzz [COUNT [SEED]]``: random and mutated transactions into the application.

Owns ``Mutator`` (what is sent) and ``fuzz`` (CheckTx, then FinalizeBlock and Commit in blocks). Promises that
every transaction is answered with a code of the table twice, and that a seed sends the same bytes again.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ledger import canonical, envelope
from ledger.errors import Code, Refused
from ledger.limits import JSON_INTEGER_MAX
from ledger.pb.envelope_pb2 import Envelope
from tests.simulation.recount import sign_bytes
from tests.simulation.traffic import Traffic
from tests.simulation.world import EVERYBODY, KEYS, World
from tests.support.application import Chain

COUNT = 100_000
BLOCK = 50
FORGED_ONE_IN = 20
"""How many mutants keep the signature they no longer have."""
NONCE_LEAP_MAX = 100
"""How far ahead of its signer's nonces a mutant's may be and still be signed again."""
KEPT = 400
"""How many transactions are there to be mutated."""
_LEAVES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    JSON_INTEGER_MAX,
    1.5,
    "",
    "a",
    "\u0000",
    "\ud7ff",
    "ab" * 32,
    [],
    {},
)
_CODES = frozenset(int(code) for code in Code)


class Mutator:
    """An endless source of transactions: as made, damaged in bytes, fields or bodies, or of chance."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._traffic = Traffic(self._chance, World.of(self._chance))
        self._kept: list[bytes] = []
        self._height = 0
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip, self._flip, self._cut, self._insert, self._splice, self._fields,
            self._fields, self._body, self._body, self._body, self._random,
        )  # fmt: skip

    def block(self, height: int) -> list[bytes]:
        """Give ``BLOCK`` transactions: those of this height as they are, the others mutated."""
        self._height = height
        fresh = self._traffic.block(height)
        self._kept = (self._kept + fresh)[-KEPT:]
        base = self._chance.choices(self._kept or [b"\0"], k=BLOCK - len(fresh))
        return fresh + [self._signed_again(self._chance.choice(self._ways)(tx or b"\0")) for tx in base]

    def _signed_again(self, tx: bytes) -> bytes:
        """Sign most envelopes again: a forged signature is refused by a slow rule and gets nowhere."""
        if self._chance.randrange(FORGED_ONE_IN) == 0:
            return tx
        try:
            message = Envelope.FromString(tx)
        except Exception:  # noqa: BLE001 - no envelope: nothing to sign
            return tx
        if message.SerializeToString(deterministic=True) != tx:
            return tx
        if message.nonce > self._traffic.used(message.signer) + NONCE_LEAP_MAX:
            # Were it good, its signer would have used up all nonces below and fall silent.
            return tx
        for signature in message.signatures:
            key = KEYS.get(signature.key_id)
            if key is not None:
                signature.value = key.sign(sign_bytes(message))
        return message.SerializeToString(deterministic=True)

    def _at(self, content: bytes) -> int:
        return self._chance.randrange(len(content) + 1)

    def _flip(self, tx: bytes) -> bytes:
        changed = bytearray(tx)
        for _ in range(self._chance.choice((1, 1, 2, 8))):
            changed[self._chance.randrange(len(tx))] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def _cut(self, tx: bytes) -> bytes:
        one, other = sorted((self._at(tx), self._at(tx)))
        return tx[:one] + tx[other:]

    def _insert(self, tx: bytes) -> bytes:
        at = self._at(tx)
        return tx[:at] + self._chance.randbytes(self._chance.randrange(1, 20)) + tx[at:]

    def _splice(self, tx: bytes) -> bytes:
        other = self._chance.choice(self._kept or [tx])
        return tx[: self._at(tx)] + other[self._at(other) :]

    def _random(self, _tx: bytes) -> bytes:
        return self._chance.randbytes(self._chance.randrange(200))

    def _fields(self, tx: bytes) -> bytes:
        """Change fields of the message, signatures as they were."""
        try:
            message = Envelope.FromString(tx)
        except Exception:  # noqa: BLE001 - whatever cannot be read is damaged further
            return self._flip(tx)
        match self._chance.randrange(5):
            case 0:
                message.nonce = self._chance.choice((0, 1, 2**53 - 1, 2**53, 2**64 - 1))
            case 1:
                message.not_after_height = self._chance.choice((0, 1, 2**53, 2**64 - 1))
            case 2:
                message.signer = self._chance.choice(EVERYBODY).did
            case 3:
                message.signatures.add(
                    key_id="z" * self._chance.randrange(200), value=self._chance.randbytes(64)
                )
            case _:
                message.body = self._flip(message.body or b"{}")
        return message.SerializeToString()

    def _body(self, tx: bytes) -> bytes:
        """Change a body and sign it again: this gets as far as any enemy with a key does."""
        try:
            value = json.loads(envelope.decode(tx).body)
            body = canonical.dump(self._value(value, 0))
        except (Refused, ValueError, TypeError):
            body = self._chance.choice((b"{}", b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 500))
        return self._traffic.sign(self._chance.choice(EVERYBODY), body, self._height)

    def _value(self, value: Any, depth: int) -> Any:
        """Change something somewhere in a JSON value."""
        if isinstance(value, dict) and value and self._chance.randrange(6):
            key = self._chance.choice(sorted(value))
            return {**value, key: self._value(value[key], depth + 1)}
        if isinstance(value, list) and value and self._chance.randrange(6):
            at = self._chance.randrange(len(value))
            return [*value[:at], self._value(value[at], depth + 1), *value[at + 1 :]]
        if isinstance(value, dict):
            name = self._chance.choice((*sorted(value), "extra"))
            return {k: v for k, v in value.items() if k != name} or {name: 1}
        if isinstance(value, str) and self._chance.randrange(3) == 0:
            return value[: self._at(value.encode())] + self._chance.choice(
                ("", "x", "\u00e9", "/", "A" * 300)
            )
        return self._chance.choice(_LEAVES)


def fuzz(count: int, seed: int) -> Counter[Code]:
    """Send at least ``count`` transactions through mempool and block; give the codes of the blocks.

    Raises:
        AssertionError: an answer that is no code, or not one for each.
    """
    world = World.of(random.Random(seed))  # noqa: S311 - reproducible, not secret
    mutator, chain, codes = Mutator(seed), Chain(), Counter[Code]()
    chain.application.init_chain(world.init_chain)
    while codes.total() < count:
        txs = mutator.block(chain.height + 1)
        waiting = [tx for tx in txs if _checked(chain, tx) == Code.OK]
        results = chain.block(txs).tx_results
        assert len(results) == len(txs)
        for tx, result in zip(txs, results, strict=True):
            assert result.code in _CODES, f"FinalizeBlock of {tx.hex()}"
            assert bool(result.data) == (result.code == 0)
            codes[Code(result.code)] += 1
        # As if they were still waiting: CometBFT asks again, about what passed and was not in the block.
        for tx in waiting:
            _checked(chain, tx, recheck=True)
    return codes


def _checked(chain: Chain, tx: bytes, *, recheck: bool = False) -> int:
    code = chain.check(tx, recheck=recheck)
    assert code in _CODES, f"CheckTx of {tx.hex()}"
    return code


def main(count: int = COUNT, seed: int = 1) -> None:
    """Run and say what was seen."""
    begun = time.monotonic()
    codes = fuzz(count, seed)
    seconds = time.monotonic() - begun
    total, speed = codes.total(), codes.total() / seconds
    sys.stdout.write(
        f"seed {seed}: {total} transactions in {seconds:.0f} s, {speed:.0f} a second, {len(codes)} codes\n"
    )
    for code, times in codes.most_common():
        sys.stdout.write(f"  {times:8} {code.name}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
