"""Suite ``bisect``: whole walks over a primary's blocks, compared with witnesses.

Only translates: ``consensus.light.bisection`` walks, ``consensus.light.witness`` compares.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from consensus.light.bisection import bisect, drive
from consensus.light.encoding import validators_hash
from consensus.light.predicates import is_within_trusting_period
from consensus.light.types import LightBlock, Options, Trusted
from consensus.light.verifier import linked_back, trust_root
from consensus.light.witness import Testimony, diverged, hear, hear_newest, nobody_agrees
from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed
from tests.conformance.blocks import block_in, integer_in, options_in, set_in, time_in, trusted_in


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{trusted, primary, witnesses, target_height, now, …}``."""
    try:
        options, now_ns, target = options_in(case), time_in(case["now"]), integer_in(case["target_height"])
        root = case["trusted"]
        by_hash = "hash" in root
        named = (integer_in(root["height"]), bytes.fromhex(root["hash"])) if by_hash else None
        primary, witnesses = case["primary"], list(case.get("witnesses") or [])
        if not isinstance(primary, list) or not all(isinstance(w, list) for w in witnesses):
            return {"verdict": "refused"}
    except (KeyError, TypeError, ValueError, AttributeError, ConclaveError):
        return {"verdict": "refused"}
    try:
        peer = _Peer(primary)
        ground = _named(peer, *named) if named else trusted_in(root)
        is_within_trusting_period(ground.header, options.trusting_period_ns, now_ns)
        found = _found(ground, target, options, now_ns, peer)
        _compare(found, ground, options, now_ns, [_Peer(blocks) for blocks in witnesses])
    except (VerificationFailed, EnvironmentFault) as error:
        is_fork = error.code is Code.HEADERS_DIVERGED
        return {"verdict": "diverged" if is_fork else "invalid", "code": int(error.code)}
    return {"verdict": "ok", "code": None}


class _Peer:
    """A list of light blocks by height; a block that cannot be read is met when asked for."""

    def __init__(self, values: list[Any]) -> None:
        self._by_height: dict[int, Any] = {}
        for value in values:
            try:
                self._by_height[integer_in(value["signed_header"]["header"]["height"])] = value
            except (KeyError, TypeError, ValueError):
                continue

    def __call__(self, height: int) -> LightBlock:
        """Give the block; a next set it came without is that of the block after, if the header names it."""
        if height not in self._by_height:
            raise EnvironmentFault(Code.RPC_REFUSED, got=height, expected="a height the peer has")
        block = block_in(self._by_height[height])
        if block.next_validators is not None or height + 1 not in self._by_height:
            return block
        try:
            after = self._by_height[height + 1]
            following = set_in(after.get("validators", after.get("validator_set")))
        except VerificationFailed:
            return block
        named = validators_hash(following) == block.header.next_validators_hash
        return dataclasses.replace(block, next_validators=following) if named else block

    def newest(self) -> LightBlock | None:
        """Give the highest block, None without any that can be read."""
        try:
            return self(max(self._by_height)) if self._by_height else None
        except VerificationFailed:
            return None


def _named(fetch: _Peer, height: int, digest: bytes) -> Trusted:
    block = fetch(height)
    return trust_root(block, block.header.chain_id, digest)


def _found(ground: Trusted, target: int, options: Options, now_ns: int, fetch: _Peer) -> Trusted:
    """Walk to the target, forwards by bisection, backwards by hash links."""
    if target > ground.height:
        return drive(bisect(ground, target, options, now_ns, trace=[]), fetch)
    while ground.height > target:
        ground = linked_back(fetch(ground.height - 1).header, ground)
    return ground


def _compare(found: Trusted, ground: Trusted, options: Options, now_ns: int, witnesses: list[_Peer]) -> None:
    """Let every witness be heard; one that has not got so far shows its newest block."""
    heard = []
    for witness in witnesses:
        told = hear(found, ground, options, now_ns, witness)
        newest = witness.newest() if told.testimony is Testimony.BEHIND else None
        if newest is not None:
            told = hear_newest(newest, found, ground, options, now_ns, witness)
        heard.append(told.testimony)
    if Testimony.DIVERGES in heard:
        raise diverged(found, f"witness {heard.index(Testimony.DIVERGES)}")
    if heard and Testimony.AGREES not in heard:
        raise nobody_agrees(found.height, f"{len(heard)} witnesses, none with this header")
