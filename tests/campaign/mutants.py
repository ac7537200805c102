"""Small changes to any value: JSON, typed records, bytes.

Owns the nine classes of mutation and the walk over a value's places. A change copies only the way to its
place. Promises that a changed value differs from the old one, in what it is made of if not in meaning, or
``UNCHANGED`` where the class has nothing to do there. Validator sets are put in order again, as any set is.
"""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Callable, Iterator
from typing import Any

from consensus.light.types import ValidatorSet

Place = tuple[str | int, ...]
UNCHANGED = object()
_ALPHABET = "0123456789abcdefABCDEFxyzXYZ+/=-_:.TZ \x00\u00e9"
Mutation = Callable[[random.Random, Any, Any], Any]
"""From chance, a node and another chain's node of the same place."""


def places(value: Any, way: Place = ()) -> Iterator[Place]:
    """Give every place in a value, the whole first."""
    yield way
    for step, inner in _items(value):
        yield from places(inner, (*way, step))


def at(value: Any, place: Place) -> Any:
    """Give what is at a place; UNCHANGED where there is none."""
    for step in place:
        value = next((inner for name, inner in _items(value) if name == step), UNCHANGED)
    return value


def put(value: Any, place: Place, new: Any) -> Any:
    """Give a copy with something else at a place."""
    if not place:
        return new
    step, inner = place[0], put(at(value, place[:1]), place[1:], new)
    if isinstance(value, dict):
        return {**value, step: inner}
    if isinstance(value, ValidatorSet):
        return ValidatorSet.of(tuple(inner))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes: dict[str, Any] = {str(step): inner}
        return dataclasses.replace(value, **changes)
    assert isinstance(step, int)
    return type(value)((*value[:step], inner, *value[step + 1 :]))


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, ValidatorSet):
        yield "validators", value.validators
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def flip(chance: random.Random, node: Any, _other: Any) -> Any:
    """Change one bit, digit, letter or alternative."""
    if isinstance(node, bool):
        return not node
    if isinstance(node, enum.Enum):
        return chance.choice([one for one in type(node) if one is not node])
    if isinstance(node, int):
        return node ^ 1 << chance.randrange(20)
    if not node or not _has_parts(node) or isinstance(node, list | tuple):
        return "" if node is None else UNCHANGED
    spot = chance.randrange(len(node))
    if isinstance(node, bytes):
        return node[:spot] + bytes([node[spot] ^ 1 << chance.randrange(8)]) + node[spot + 1 :]
    return node[:spot] + chance.choice(_ALPHABET.replace(node[spot], "")) + node[spot + 1 :]


def drop(chance: random.Random, node: Any, _other: Any) -> Any:
    """Take one part away."""
    if isinstance(node, dict) and node:
        gone = chance.choice(sorted(node))
        return {name: inner for name, inner in node.items() if name != gone}
    if not node or not _has_parts(node):
        return UNCHANGED
    spot, size = chance.randrange(len(node)), _size(chance, node)
    return node[:spot] + node[spot + size :]


def duplicate(chance: random.Random, node: Any, _other: Any) -> Any:
    """Put one part twice."""
    if not node or not _has_parts(node):
        return UNCHANGED
    spot, size = chance.randrange(len(node)), _size(chance, node)
    return node[: spot + size] + node[spot : spot + size] + node[spot + size :]


def swap(chance: random.Random, node: Any, _other: Any) -> Any:
    """Exchange two parts: list entries, values of fields, characters."""
    if isinstance(node, enum.Enum) or node is None or isinstance(node, int):
        return UNCHANGED
    if isinstance(node, str | bytes):
        parts = [node[spot : spot + 1] for spot in range(len(node))]
        return _joined(node, _exchanged(chance, parts)) if len(set(parts)) > 1 else UNCHANGED
    named = list(_items(node))
    if len(named) < 2 or isinstance(node, ValidatorSet):
        return UNCHANGED
    one, two = chance.sample(range(len(named)), 2)
    if not isinstance(node, dict | list) and type(named[one][1]) is not type(named[two][1]):
        return UNCHANGED
    (first, left), (second, right) = named[one], named[two]
    return put(put(node, (first,), right), (second,), left) if left != right else UNCHANGED


def truncate(chance: random.Random, node: Any, _other: Any) -> Any:
    """Cut the end off."""
    if not node or not _has_parts(node):
        return UNCHANGED
    return node[: chance.randrange(len(node))]


def extend(chance: random.Random, node: Any, other: Any) -> Any:
    """Put something behind."""
    if isinstance(node, str) and not isinstance(node, enum.Enum):
        return node + "".join(chance.choices(_ALPHABET, k=chance.choice((1, 2, 40))))
    if isinstance(node, bytes):
        return node + chance.randbytes(chance.choice((1, 2, 40)))
    if isinstance(node, list | tuple) and node:
        foreign = other if isinstance(other, list | tuple) and other else node
        return type(node)((*node, chance.choice((*node, *foreign))))
    return {**node, chance.choice(("extra", "Height", "")): None} if isinstance(node, dict) else UNCHANGED


def zero(chance: random.Random, node: Any, _other: Any) -> Any:
    """Make it nothing: empty, null, or zeros of the same length."""
    if isinstance(node, enum.Enum) or node is None:
        return UNCHANGED
    if isinstance(node, int):
        return 0 if node else UNCHANGED
    if isinstance(node, bytes):
        made: Any = chance.choice((b"", bytes(len(node))))
    elif isinstance(node, str):
        made = chance.choice(("", "0", "0" * len(node), None))
    elif isinstance(node, dict | list):
        made = chance.choice((type(node)(), None))
    else:
        made = () if isinstance(node, tuple) else UNCHANGED
    return made if made != node else UNCHANGED


def other_chain(_chance: random.Random, node: Any, other: Any) -> Any:
    """Take what another chain has there."""
    return other if type(other) is type(node) and other != node else UNCHANGED


def reorder(chance: random.Random, node: Any, _other: Any) -> Any:
    """Put the parts into another order."""
    if isinstance(node, dict):
        names = chance.sample(list(node), len(node))
        return {name: node[name] for name in names} if names != list(node) else UNCHANGED
    if not _has_parts(node):
        return UNCHANGED
    parts = [node[spot : spot + 1] for spot in range(len(node))]
    made = _joined(node, chance.sample(parts, len(parts)))
    return made if made != node else UNCHANGED


CLASSES: dict[str, Mutation] = {
    "flip": flip,
    "drop": drop,
    "duplicate": duplicate,
    "swap": swap,
    "truncate": truncate,
    "extend": extend,
    "zero": zero,
    "other chain": other_chain,
    "reorder": reorder,
}


def _has_parts(node: Any) -> bool:
    return isinstance(node, list | tuple | str | bytes) and not isinstance(node, enum.Enum)


def _size(chance: random.Random, node: Any) -> int:
    return chance.choice((1, 1, 2, 8)) if isinstance(node, str | bytes) else 1


def _exchanged(chance: random.Random, parts: list[Any]) -> list[Any]:
    one = chance.randrange(len(parts))
    two = chance.choice([spot for spot, part in enumerate(parts) if part != parts[one]])
    parts[one], parts[two] = parts[two], parts[one]
    return parts


def _joined(node: Any, parts: list[Any]) -> Any:
    if isinstance(node, str):
        return "".join(parts)
    return b"".join(parts) if isinstance(node, bytes) else type(node)(part for one in parts for part in one)
