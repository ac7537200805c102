"""Suite ``bisect``: whole walks over a primary's blocks, compared with witnesses.

Only translates: ``consensus.light.bisection`` walks, ``consensus.light.witness`` compares.
"""

from __future__ import annotations

from typing import Any

from consensus.light.bisection import bisect, drive
from consensus.light.encoding import header_hash
from consensus.light.parse import parse_signed_header
from consensus.light.predicates import is_within_trusting_period
from consensus.light.types import LightBlock, Trusted
from consensus.light.verifier import trust_root
from consensus.light.witness import Witness, cross_check
from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed
from tests.conformance.blocks import block_in, options_in, set_in, time_in


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Judge ``{trusted, primary, witnesses, target_height, now, …}``."""
    try:
        options, now_ns, target = options_in(case), time_in(case["now"]), int(case["target_height"])
        root = case["trusted"]
        by_hash = "hash" in root
        named = (int(root["height"]), bytes.fromhex(root["hash"])) if by_hash else None
        primary, witnesses = case["primary"], list(case.get("witnesses") or [])
        if not isinstance(primary, list) or not all(isinstance(w, list) for w in witnesses):
            return {"verdict": "refused"}
    except (KeyError, TypeError, ValueError, AttributeError, ConclaveError):
        return {"verdict": "refused"}
    try:
        fetch = _blocks(primary)
        ground = _named(fetch, *named) if named else _given(root)
        is_within_trusting_period(ground.header, options.trusting_period_ns, now_ns)
        if target == ground.height:
            found = ground
        else:
            found = drive(bisect(ground, target, options, now_ns, trace=[]), fetch)
        cross_check(found, ground, options, now_ns, [_blocks(blocks) for blocks in witnesses])
    except (VerificationFailed, EnvironmentFault) as error:
        diverged = error.code is Code.HEADERS_DIVERGED
        return {"verdict": "diverged" if diverged else "invalid", "code": int(error.code)}
    return {"verdict": "ok", "code": None}


def _named(fetch: Witness, height: int, digest: bytes) -> Trusted:
    block = fetch(height)
    return trust_root(block, block.header.chain_id, digest)


def _given(root: dict[str, Any]) -> Trusted:
    """A whole block is trusted as it is; its own set stands for the next where the header names one set."""
    header = parse_signed_header(root.get("signed_header"), lax=True).header
    same = header.next_validators_hash == header.validators_hash
    own = root.get("validators", root.get("validator_set")) if same else None
    following = root.get("next_validators", root.get("next_validator_set", own))
    return Trusted(header, header_hash(header), None if following is None else set_in(following))


def _blocks(values: list[Any]) -> Witness:
    """Serve a list of light blocks by height; a block that cannot be read is met when asked for."""
    by_height: dict[int, Any] = {}
    for value in values:
        try:
            by_height[int(value["signed_header"]["header"]["height"])] = value
        except (KeyError, TypeError, ValueError):
            continue

    def fetch(height: int) -> LightBlock:
        if height not in by_height:
            raise EnvironmentFault(Code.RPC_REFUSED, got=height, expected="a height the peer has")
        return block_in(by_height[height])

    return fetch
