"""Proof files of a ledger in memory, and every small change to one."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any

from consensus.proof_file.export import Exported, export
from consensus.proof_file.form import Kind, Question, decode
from consensus.proof_file.judge import Judged, judge
from ledger import canonical
from tests.support.ledger import Ledger, Node
from tests.unit.consensus.ledgers import root_of


def a_ledger() -> Ledger:
    """Give a ledger with three revisions, the third a rollback."""
    ledger = Ledger()
    ledger.commit()
    ledger.release()
    ledger.release("two")
    ledger.roll_back(1)
    ledger.commit()
    return ledger


def exported(ledger: Ledger, question: Question) -> Exported:
    """Export from the genesis, proven by the newest header."""
    return export(Node(ledger), root_of(ledger), question, ledger.height, ledger.chain.now_ns)


def verdict(ledger: Ledger, content: bytes) -> Judged:
    """Judge a file's bytes from the genesis, as of the ledger's own present."""
    return judge(decode(content), root_of(ledger), ledger.chain.now_ns)


def questions(proposal: str) -> dict[str, Question]:
    """Give one question of each sort."""
    return {
        "release": Question(Kind.RELEASE, "guestbook", 2),
        "rollback": Question(Kind.RELEASE, "guestbook", 3),
        "proposal": Question(Kind.PROPOSAL, proposal),
        "key": Question(Kind.KEY, "object/Cluster/east"),
        "absence": Question(Kind.KEY, "object/Cluster/nowhere"),
        "headers": Question(Kind.HEADERS),
    }


def changed(content: bytes, *, each: int = 1) -> Iterator[tuple[str, bytes]]:
    """Give the file with its fields changed in several ways, each so manieth: where, and the bytes."""
    whole, counted = json.loads(content), itertools.count()
    for path in _paths(whole):
        for how, value in _others(_at(whole, path)):
            if next(counted) % each:
                continue
            other = copy.deepcopy(whole)
            if path:
                _at(other, path[:-1])[path[-1]] = value
            else:
                other = value
            yield f"{'.'.join(map(str, path))} {how}", canonical.dump(other)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, inner in inside:
        yield from _paths(inner, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    yield "null", None if value is not None else "x"
    yield "number", 7 if value != 7 else 8
    if isinstance(value, str):
        yield "empty", "" if value else "y"
        middle = len(value) // 2
        yield (
            "flipped",
            value[:middle] + ("0" if value[middle : middle + 1] != "0" else "1") + value[middle + 1 :],
        )
        if value.swapcase() != value:
            yield "other case", value.swapcase()
    elif isinstance(value, int):
        yield "more", value + 1
        yield "less", value - 1
    elif isinstance(value, list) and value:
        yield "cut", value[:-1]
        yield "beheaded", value[1:]
        yield "doubled", [*value, value[-1]]
        if value[::-1] != value:
            yield "reversed", value[::-1]
    elif isinstance(value, dict):
        yield "grown", {**value, "more": 1}
        for name in value:
            yield f"without {name}", {k: v for k, v in value.items() if k != name}
