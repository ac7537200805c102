"""P3: headers verified per second, beside CometBFT's own Go light client on the same recorded chain.

Owns the cases, our side's work (the peer's is ``bench/light``) and the ratios. The chains are made here, once
a run, with real keys and signatures (``bench.recorded``): every validator votes, all have the same power. The
sides take turns, each run in a process of its own; reading the file is not timed on either. Prints one line a
case, ``P3 ratio=… ours=… peer=… unit=headers/s validators=… mode=…``, medians, above 1 means that ours is
faster; then ICS-23 proofs of both kinds against cosmos/ics23, and how memory grows over 100,000 headers.
``cpu`` is the same ratio by processor time of all threads, which other work on the machine disturbs less.

``sequential`` verifies every height; ``skipping`` every tenth, on the ground of the tenth before, while a
validator is replaced every ten heights.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import recorded
from bench.validator import build_go, say
from consensus.light.types import SECOND_NS, LightBlock, Options, Trusted
from consensus.light.verdict import Ok
from consensus.light.verifier import trust_root, verify
from ledger.errors import Code, ConclaveError, EnvironmentFault
from state.batch import stage
from state.proof import parse_proof, verify_membership, verify_non_membership
from state.spec import SMT
from state.store import Store

PEER_SOURCES = Path(__file__).parent / "light"
PHASE_TIMEOUT_S = 300
STEPS = {"sequential": 1, "skipping": 10}
HEADERS = {4: 600, 100: 200, 500: 60}
"""Validators: headers verified in a run."""
KEYS = 10_000
PROOFS = 2_000
MEMORY_HEADERS = (10_000, 100_000)
MEMORY_VALIDATORS = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: a recorded file, how many verifications are in it, and the words of its line."""

    command: str
    file: Path
    count: int
    unit: str
    words: str


class Spent(NamedTuple):
    """What one run took: seconds by the clock, and of the processor in all threads."""

    seconds: float
    processor: float

    @classmethod
    def since(cls, began: Spent) -> Spent:
        """Give what was spent since ``began``, which ``now`` gave."""
        now = cls.now()
        return cls(now.seconds - began.seconds, now.processor - began.processor)

    @classmethod
    def now(cls) -> Spent:
        """Give both clocks."""
        return cls(time.perf_counter(), time.process_time())


def verify_chain(chain: list[LightBlock]) -> Spent:
    """Verify each block on the ground of the one before it; give what it took."""
    options, now_ns = Options(), chain[-1].header.time_ns + SECOND_NS
    trusted = trust_root(chain[0], recorded.CHAIN_ID, None)
    began = Spent.now()
    for block in chain[1:]:
        trusted = _verified(block, trusted, options, now_ns)
    return Spent.since(began)


def _verified(block: LightBlock, trusted: Trusted, options: Options, now_ns: int) -> Trusted:
    verdict = verify(block, trusted, options, now_ns)
    if not isinstance(verdict, Ok):
        raise EnvironmentFault(Code.PROCESS_DIED, got=repr(verdict), expected="a chain that verifies")
    return verdict.trusted


def verify_proofs(lines: list[str]) -> Spent:
    """Verify recorded proofs; give what it took."""
    names = ("root", "key", "value", "proof")
    proofs = [[base64.b64decode(read[name]) for name in names] for read in map(json.loads, lines)]
    began = Spent.now()
    for root, key, value, proof in proofs:
        if value:
            verify_membership(SMT, root, parse_proof(proof), key, value)
        else:
            verify_non_membership(SMT, root, parse_proof(proof), key)
    return Spent.since(began)


def write_proofs(folder: Path, file: Path, *, present: bool) -> None:
    """Record ``PROOFS`` proofs of keys that are, or are not, in a state of ``KEYS`` keys."""
    with Store.open(folder) as store, file.open("w") as out:
        if store.committed.height == 0:
            pairs: dict[bytes, bytes | None] = {b"k/%d" % n: b"value %d" % n for n in range(KEYS)}
            store.commit(stage(store.committed, 1, 1, pairs))
        for number in range(PROOFS):
            key = b"%s/%d" % (b"k" if present else b"no", number * (KEYS // PROOFS))
            value, proof = store.prove_at(key, 1)
            found = {
                "root": store.committed.app_hash,
                "key": key,
                "value": value or b"",
                "proof": proof.SerializeToString(),
            }
            out.write(json.dumps({k: base64.b64encode(v).decode() for k, v in found.items()}) + "\n")


def rss_growth(marks: tuple[int, ...]) -> list[int]:
    """Verify heights one after the other, made as they are needed; give the resident bytes at the marks."""
    chain = recorded.blocks(MEMORY_VALIDATORS, range(1, marks[-1] + 2))
    trusted = trust_root(next(chain), recorded.CHAIN_ID, None)
    options, found = Options(), []
    for number, block in enumerate(chain, start=1):
        trusted = _verified(block, trusted, options, block.header.time_ns)
        if number in marks:
            found.append(_rss_bytes())
    return found


def compare(case: Case, peer: Path, repeat: int) -> str:
    """Run both sides in turn; give the line."""
    own = [sys.executable, "-m", "bench.p3", "--phase", case.command, "--file", str(case.file)]
    sides = {"peer": [str(peer), case.command, "-file", str(case.file)], "ours": own}
    spent: dict[str, list[Spent]] = {side: [] for side in sides}
    for _ in range(repeat):
        for side, argv in sides.items():
            spent[side].append(_phase(argv))
    ours, theirs = (_median(spent[side]) for side in ("ours", "peer"))
    rates = f"ours={case.count / ours.seconds:.0f} peer={case.count / theirs.seconds:.0f} unit={case.unit}"
    cpu = theirs.processor / ours.processor
    return f"P3 ratio={theirs.seconds / ours.seconds:.2f} {rates} {case.words} cpu={cpu:.2f}"


def _median(spent: list[Spent]) -> Spent:
    return Spent(*(statistics.median(column) for column in zip(*spent, strict=True)))


def _cases(folder: Path, counts: list[int]) -> list[Callable[[], Case]]:
    def headers(validators: int, mode: str) -> Case:
        count, step = HEADERS[validators], STEPS[mode]
        file = folder / f"{validators}-{mode}"
        recorded.write(file, recorded.blocks(validators, range(1, (count + 1) * step, step)))
        return Case("headers", file, count, "headers/s", f"validators={validators} mode={mode}")

    def proofs(*, present: bool) -> Case:
        file = folder / f"proofs-{present}"
        write_proofs(folder / "state", file, present=present)
        kind = "existence" if present else "absence"
        return Case("proofs", file, PROOFS, "proofs/s", f"quantity={kind} keys={KEYS}")

    chains = [partial(headers, validators, mode) for validators in counts for mode in STEPS]
    return [*chains, partial(proofs, present=True), partial(proofs, present=False)]


def main() -> int:
    """Measure and print; give the exit status."""
    parser = argparse.ArgumentParser(prog="bench.p3", description=__doc__)
    parser.add_argument("--validators", nargs="*", type=int, choices=HEADERS, default=list(HEADERS))
    parser.add_argument("--repeat", type=int, default=5, help="runs a side, in turn; the median counts")
    parser.add_argument("--no-memory", action="store_true", help="leave out the 100,000 headers")
    parser.add_argument("--phase", choices=("headers", "proofs", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase is not None:
        print(json.dumps(_one_phase(arguments.phase, arguments.file)))
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="conclave-p3-") as name:
            _run(Path(name), arguments.validators, arguments.repeat)
        if not arguments.no_memory:
            _memory()
    except ConclaveError as error:
        say(f"P3 failed: {error}")
        return 1
    return 0


def _run(folder: Path, counts: list[int], repeat: int) -> None:
    peer = build_go(PEER_SOURCES, folder / "light-bench")
    for make in _cases(folder, counts):
        print(f"{compare(make(), peer, repeat)} load={os.getloadavg()[0]:.1f}", flush=True)


def _memory() -> None:
    found = _output([sys.executable, "-m", "bench.p3", "--phase", "memory"])
    few, many = (size / 1e6 for size in found)
    words = f"headers={MEMORY_HEADERS[0]},{MEMORY_HEADERS[1]} validators={MEMORY_VALIDATORS}"
    print(f"P3 ratio={many / few:.2f} ours={many:.1f} before={few:.1f} unit=MB quantity=rss {words}")


def _one_phase(phase: str, file: Path) -> object:
    if phase == "memory":
        return rss_growth(MEMORY_HEADERS)
    if phase == "headers":
        return [verify_chain(recorded.read(file))._asdict()]
    return [verify_proofs(file.read_text().splitlines())._asdict()]


def _phase(argv: list[str]) -> Spent:
    return Spent(**_output(argv)[0])


def _output(argv: list[str]) -> Any:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PHASE_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise EnvironmentFault(Code.PROCESS_DIED, got=done.stderr.strip()[-300:], expected="a finished run")
    return json.loads(done.stdout)


def _rss_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


if __name__ == "__main__":
    sys.exit(main())
