"""Questions to two light clients: is this block to be believed on the ground of that one?

Owns a question's JSON form (read by ``bench/light`` too), both sides' answers to it, and blocks signed anew
by the validators of a test chain. A verdict is ``ok``, ``not_enough_trust``, ``expired`` or ``invalid``.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from consensus.light.encoding import header_hash, validators_hash, vote_sign_bytes
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import (
    GO_ZERO_TIME_NS,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    LightBlock,
    Options,
    SignedHeader,
    TrustLevel,
    ValidatorSet,
)
from consensus.light.verdict import NotEnoughTrust, Ok
from consensus.light.verifier import trust_root, verify
from ledger.errors import Code, VerificationFailed
from ledger.types import JsonObject

PEER_TIMEOUT_S = 120
PERIOD_NS = 24 * 3600 * 10**9
DRIFT_NS = 10 * 10**9

Keys = Mapping[bytes, SigningKey]
"""Private keys by validator address."""
Question = dict[str, Any]


def question(
    trusted: LightBlock, untrusted: LightBlock, *, level: tuple[int, int] = (1, 3), now_ns: int | None = None
) -> Question:
    """Give a question; asked a nanosecond after the untrusted header unless ``now_ns`` says otherwise."""
    return {
        "trusted": block_json(trusted),
        "untrusted": block_json(untrusted),
        "trusting_period_ns": PERIOD_NS,
        "clock_drift_ns": DRIFT_NS,
        "trust_level": list(level),
        "now_ns": untrusted.header.time_ns + 1 if now_ns is None else now_ns,
    }


def block_json(block: LightBlock) -> JsonObject:
    """Give a light block with both its sets."""
    assert block.next_validators is not None
    return {
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
        "next_validators": validators_json(block.next_validators),
    }


def ours(asked: Question) -> str:
    """Give our verdict."""
    ground = parse_light_block(asked["trusted"])
    options = Options(asked["trusting_period_ns"], asked["clock_drift_ns"], TrustLevel(*asked["trust_level"]))
    try:
        trusted = trust_root(ground, ground.header.chain_id, None)
        verdict = verify(parse_light_block(asked["untrusted"]), trusted, options, asked["now_ns"])
    except VerificationFailed:
        return "invalid"
    if isinstance(verdict, Ok):
        return "ok"
    if isinstance(verdict, NotEnoughTrust):
        return "not_enough_trust"
    return "expired" if verdict.error.code is Code.TRUST_EXPIRED else "invalid"


def theirs(peer: Path, asked: Sequence[Question]) -> list[dict[str, str]]:
    """Give CometBFT's answers: verdict, stage, error."""
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(
        [str(peer), "judge"], input=lines, capture_output=True, text=True, timeout=PEER_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked)
    return answers


def edited(asked: Question, *path: str | int, to: Any) -> Question:
    """Give a copy of a question with one value, named from its root, set or (None) as null."""
    made = copy.deepcopy(asked)
    inner: Any = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return made


def sign(
    header: Header,
    validators: ValidatorSet,
    keys: Keys,
    *,
    absent: Collection[int] = (),
    nil: Collection[int] = (),
    block_id: BlockId | None = None,
) -> SignedHeader:
    """Sign a header by all whose keys are known, but for the indices that are absent or vote nil."""
    named = block_id or BlockId(header_hash(header), header.last_block_id.parts)
    unsigned = Commit(header.height, 0, named, ())
    to_sign = vote_sign_bytes(header.chain_id, unsigned)
    votes = []
    for index, address in enumerate(validators.addresses):
        if index in absent or address not in keys:
            votes.append(CommitSig(BlockIdFlag.ABSENT, b"", GO_ZERO_TIME_NS, b""))
            continue
        flag = BlockIdFlag.NIL if index in nil else BlockIdFlag.COMMIT
        vote = CommitSig(flag, address, header.time_ns + index, b"")
        votes.append(dataclasses.replace(vote, signature=keys[address].sign(to_sign(vote)).signature))
    return SignedHeader(header, dataclasses.replace(unsigned, signatures=tuple(votes)))


def resigned(
    block: LightBlock, keys: Keys, validators: ValidatorSet | None = None, **changes: Any
) -> LightBlock:
    """Give a block with other header fields, or other validators, and a commit that is right for it."""
    members = validators or block.validators
    fields: dict[str, Any] = {"validators_hash": validators_hash(members), **changes}
    header = dataclasses.replace(block.header, **fields)
    return dataclasses.replace(block, signed_header=sign(header, members, keys), validators=members)


def followed_by(block: LightBlock, keys: Keys, following: ValidatorSet) -> LightBlock:
    """Give a block that announces another next set, signed anew."""
    made = resigned(block, keys, next_validators_hash=validators_hash(following))
    return dataclasses.replace(made, next_validators=following)
