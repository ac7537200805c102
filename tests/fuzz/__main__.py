"""``python -m tests.fuzz TARGET [SECONDS]``: fuzz one target with atheris (the ``fuzz`` extra).

Owns the command line. Findings are written to ``.fuzz/TARGET/`` and the process exits non-zero; the bytes of
a finding belong into ``tests/fuzz/test_targets.py`` once it is understood.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

SECONDS = 60
INPUT_BYTES_MAX = 4096


def main(arguments: list[str]) -> int:
    """Run a target; give the exit status where it cannot be run."""
    try:
        fuzzer: Any = importlib.import_module("atheris")
    except ImportError:
        sys.stderr.write("atheris is not installed: run it by `make fuzz`\n")
        return 69
    with fuzzer.instrument_imports(include=["ledger", "state", "consensus", "abci_app", "rfc8785"]):
        from tests.fuzz.targets import TARGETS
    if not arguments or arguments[0] not in TARGETS:
        sys.stderr.write(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [SECONDS]\n")
        return 64
    name, seconds = arguments[0], int(arguments[1]) if len(arguments) > 1 else SECONDS
    target, seeds = TARGETS[name]
    corpus = Path(".fuzz") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={corpus}/found-",
    ]
    fuzzer.Setup([sys.argv[0], str(corpus), *options], target)
    fuzzer.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
