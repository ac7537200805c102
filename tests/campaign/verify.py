"""``python -m tests.campaign.verify [COUNT [SEED]]``: altered light blocks and state proofs, none passes.

Owns the valid cases, and ``effect``, which tells for every mutant that is accepted why the change means
nothing (docs/spec/verification.md, "Mutations without effect") or that it is a hole. A mutant is a typed
record, JSON, or the bytes of either. Promises that a seed makes the same mutants again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import BlockIdFlag, CommitSig, LightBlock, Options, Trusted, ValidatorSet
from consensus.light.verdict import Ok
from consensus.light.verifier import restored, verify
from ledger.errors import Code, ConclaveError, VerificationFailed
from state.proof import parse_proof
from tests.campaign.mutants import CLASSES, UNCHANGED, Place, at, places, put
from tests.campaign.state_proofs import StateCase, fields_of, judged, proof_of, state_cases
from tests.support.chain import Chain, secp_signers, signers

COUNT = 100_000
LEVELS = ("records", "json", "bytes")
RECORDED = Path(__file__).parents[1] / "vectors" / "consensus" / "recorded"
REFUSED = "refused"
HOLE = "ACCEPTED"

_OLD = (*signers("a", "b", "c", "d", power=10), *secp_signers("s", "t", power=7))
_NEW = (*_OLD[1:], *signers("e", power=3))


@dataclass(frozen=True, slots=True)
class LightCase:
    """A block that verifies on a ground, and another chain's block of the same height."""

    name: str
    ground: Trusted
    block: LightBlock
    other: LightBlock
    options: Options
    now_ns: int


def light_cases() -> list[LightCase]:
    """Give adjacent and skipping blocks of a chain whose validators change, with votes that are missing."""
    ours, theirs = _chain("ours"), _chain("theirs")
    chosen = {"the next": (1, 2), "the next, new set": (4, 5), "a later": (1, 4), "a later, new set": (3, 8)}
    return [
        LightCase(
            name, ours.trusted(ground), ours.blocks[height], theirs.blocks[height], Options(), ours.now_ns
        )
        for name, (ground, height) in chosen.items()
    ] + _recorded()


def _recorded() -> list[LightCase]:
    """Give the last height that nodes of several versions answered, on the ground of their second."""
    chains = {path.stem: _blocks(path) for path in sorted(RECORDED.glob("*.json"))}
    made = []
    for (name, blocks), other in zip(chains.items(), [*chains.values()][1:], strict=False):
        second, block = blocks[1], blocks[-1]
        ground = restored(second.header, second.next_validators)
        now_ns = block.header.time_ns + 1
        made.append(LightCase(name, ground, block, other[-1], Options(), now_ns))
    return made


def _blocks(path: Path) -> list[LightBlock]:
    return [
        parse_light_block(
            {
                "signed_header": raw["commit"]["signed_header"],
                "validators": raw["validators"]["validators"],
                "next_validators": raw["next_validators"]["validators"],
            }
        )
        for raw in json.loads(path.read_text())["blocks"]
    ]


def _chain(chain_id: str) -> Chain:
    chain = Chain(_OLD, chain_id=chain_id)
    for height in range(1, 9):
        chain.append(following=_NEW if height >= 4 else _OLD, absent=_OLD[1:2] if height % 2 else ())
    return chain


def block_json(block: LightBlock) -> dict[str, Any]:
    """Give a block in CometBFT's spelling."""
    assert block.next_validators is not None
    return {
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
        "next_validators": validators_json(block.next_validators),
    }


def counted(block: LightBlock, ground: Trusted, options: Options) -> list[tuple[int, CommitSig]]:
    """Count again, on its own, which votes a client relies on: the first that suffice, in order."""
    votes = [
        (index, sig)
        for index, sig in enumerate(block.signed_header.commit.signatures)
        if sig.flag is BlockIdFlag.COMMIT
    ]
    relied = _first(votes, block.validators, (2, 3))
    if block.height != ground.height + 1 and ground.next_validators is not None:
        level = options.trust_level
        relied += _first(votes, ground.next_validators, (level.numerator, level.denominator))
    return relied


def _first(
    votes: list[tuple[int, CommitSig]], validators: ValidatorSet, share: tuple[int, int]
) -> list[tuple[int, CommitSig]]:
    powers = {v.address: v.power for v in validators.validators}
    found, signed = [], 0
    for index, sig in votes:
        if sig.validator_address in powers and signed * share[1] <= sum(powers.values()) * share[0]:
            found.append((index, sig))
            signed += powers[sig.validator_address]
    return found


def effect(case: LightCase, block: LightBlock, trusted: Trusted) -> str:
    """Say why an accepted mutant means what the honest block means, or ``HOLE``."""
    honest = case.block
    if trusted.header != honest.header or block.header != honest.header:
        return HOLE
    if block.validators != honest.validators or trusted.next_validators not in (None, honest.next_validators):
        return HOLE
    mutant, true = block.signed_header.commit, honest.signed_header.commit
    if dataclasses.replace(mutant, signatures=()) != dataclasses.replace(true, signatures=()):
        return HOLE
    if any(sig != true.signatures[index] for index, sig in counted(block, case.ground, case.options)):
        return HOLE
    if mutant != true:
        return "votes that are not counted on"
    return "spelling" if block == honest else "next set left out"


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of mutant: what is changed, where, how."""

    case: LightCase | StateCase
    level: str
    place: Place
    kind: str


def tasks() -> list[Task]:
    """Give every class of mutation at every place of every case, on every level."""
    made: list[Task] = []
    for case in light_cases():
        for level, value in (("records", case.block), ("json", block_json(case.block))):
            made += [Task(case, level, place, kind) for place in places(value) for kind in CLASSES]
        made += [Task(case, "bytes", (), kind) for kind in CLASSES for _ in range(40)]
    for proof in state_cases():
        found = [place for place in places(proof.claim) if place]
        made += [Task(proof, "records", place, kind) for place in found for kind in CLASSES]
        made += [Task(proof, "bytes", ("proof",), kind) for kind in CLASSES for _ in range(20)]
        inner = places(fields_of(parse_proof(proof.claim.proof)))
        made += [Task(proof, "json", place, kind) for place in inner for kind in CLASSES]
    return made


def mutants(seed: int) -> Iterator[tuple[Task, Any]]:
    """Give mutants without end: all tasks in an order of chance, again and again."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    todo = tasks()
    values: dict[tuple[int, str], tuple[Any, Any]] = {}
    while True:
        chance.shuffle(todo)
        for task in todo:
            key = (id(task.case), task.level)
            if key not in values:
                values[key] = _values(task.case, task.level)
            value, other = values[key]
            made = _made(task, value, other, chance)
            if made is not UNCHANGED:
                yield task, made


def _values(case: LightCase | StateCase, level: str) -> tuple[Any, Any]:
    if isinstance(case, StateCase) and level == "json":
        return fields_of(parse_proof(case.claim.proof)), fields_of(parse_proof(case.other.proof))
    if isinstance(case, StateCase):
        return case.claim, case.other
    if level == "records":
        return case.block, case.other
    pair = block_json(case.block), block_json(case.other)
    return pair if level == "json" else (json.dumps(pair[0]).encode(), json.dumps(pair[1]).encode())


def _made(task: Task, value: Any, other: Any, chance: random.Random) -> Any:
    node = at(value, task.place)
    changed = CLASSES[task.kind](chance, node, at(other, task.place))
    if changed is UNCHANGED or (task.level == "records" and type(changed) is not type(node)):
        return UNCHANGED  # records have types: what cannot be said in them is left to JSON
    try:
        made = put(value, task.place, changed)
        if isinstance(task.case, StateCase) and task.level == "json":
            made = dataclasses.replace(task.case.claim, proof=proof_of(made))
            return UNCHANGED if made == task.case.claim else made
    except (VerificationFailed, TypeError, ValueError):
        return None  # no set, or no message, has that form: refused before there is a record
    return made


def outcome(task: Task, mutant: Any) -> str:
    """Judge one mutant: refused, without effect and why, or ``HOLE``. A foreign exception passes through."""
    if mutant is None:
        return REFUSED
    if isinstance(task.case, StateCase):
        return judged(task.case, mutant)
    try:
        block = mutant if task.level == "records" else parse_light_block(_value_of(mutant))
        verdict = verify(block, task.case.ground, task.case.options, task.case.now_ns)
    except ConclaveError:
        return REFUSED
    return effect(task.case, block, verdict.trusted) if isinstance(verdict, Ok) else REFUSED


def _value_of(mutant: Any) -> Any:
    """Read bytes as ``consensus.rpc`` does: what is no JSON is no answer."""
    if not isinstance(mutant, bytes):
        return mutant
    try:
        return json.loads(mutant)
    except (ValueError, RecursionError):
        raise VerificationFailed(Code.HEADER_MALFORMED, expected="JSON") from None


def campaign(count: int, seed: int) -> Counter[tuple[str, str]]:
    """Judge ``count`` mutants; give how often each class came out how.

    Raises:
        AssertionError: a mutant that passes and means something else.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for task, mutant in itertools.islice(mutants(seed), count):
        found = outcome(task, mutant)
        assert found != HOLE, f"{task.case.name}, {task.level} {task.place}, {task.kind}: {mutant}"
        seen[task.kind, found] += 1
    return seen


def main(count: int = COUNT, seed: int = 1) -> None:
    """Run and say what was seen."""
    begun = time.monotonic()
    seen = campaign(count, seed)
    seconds = time.monotonic() - begun
    sys.stdout.write(f"seed {seed}: {seen.total()} mutants in {seconds:.0f} s, 0 accepted\n")
    for found in sorted({reason for _, reason in seen}):
        by_kind = ", ".join(f"{kind} {seen[kind, found]}" for kind in CLASSES if seen[kind, found])
        total = sum(times for (_, reason), times in seen.items() if reason == found)
        sys.stdout.write(f"  {total:8} {found}: {by_kind}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
