"""The nodes of the state's tree and how a batch of changes moves through them.

Owns hashing and shape: leaf = sha256(00 ‖ sha256(key) ‖ sha256(value)), inner = sha256(01 ‖ left ‖ right), an
empty child is 32 zero bytes, and a subtree that holds one leaf *is* that leaf (ICS-23 ``SmtSpec``; compact as
in the Jellyfish tree). Promises that no node ever changes. Holds no values.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import TypeAlias

from state.limits import check_key, check_value

# Plain tuples: the smallest nodes Python has. The garbage collector forgets leaves, and what it still walks
# is kept from it where a large state is opened (``state.collector``).
# A leaf is (hash, path) with path = sha256(key) ‖ key; its order is the order of hashed keys.
Leaf: TypeAlias = tuple[bytes, bytes]
Inner: TypeAlias = "tuple[bytes, Node, Node]"
Node: TypeAlias = "Leaf | Inner | None"

EMPTY_ROOT = bytes(32)
LEAF_PREFIX = b"\x00"
INNER_PREFIX = b"\x01"
PATH_BYTES = 32

_DELETED = b""
"""Stands for the hash of a leaf that a batch removes."""

sha256 = hashlib.sha256


def _path_of(leaf: Leaf) -> bytes:
    return leaf[1]


def leaf_hash(path: bytes, value: bytes) -> bytes:
    """Give sha256(00 ‖ sha256(key) ‖ sha256(value)) for ``path`` = sha256(key) ‖ key."""
    return sha256(LEAF_PREFIX + path[:PATH_BYTES] + sha256(value).digest()).digest()


def make_leaf(key: bytes, value: bytes | None) -> Leaf:
    """Give the leaf of a pair, or the mark that deletes ``key`` where the value is None.

    Raises:
        Refused: a key or value the state cannot hold.
    """
    check_key(key)
    path = sha256(key).digest() + key
    if value is None:
        return (_DELETED, path)
    check_value(key, value)
    return (leaf_hash(path, value), path)


def bit(path: bytes, depth: int) -> int:
    """Give a truth value: whether ``path`` goes right at ``depth``."""
    return path[depth >> 3] & (0x80 >> (depth & 7))


def build(leaves: list[Leaf]) -> Node:
    """Give the tree of ``leaves``, sorting them in place; every path once, none marked deleted."""
    leaves.sort(key=_path_of)
    return _subtree(leaves, 0, len(leaves), 0)


def _join(left: Node, right: Node) -> Node:
    """Put two subtrees under one node; a lone leaf needs no node above it."""
    if left is None:
        if right is None or len(right) == 2:
            return right
        return (sha256(INNER_PREFIX + EMPTY_ROOT + right[0]).digest(), left, right)
    if right is None:
        if len(left) == 2:
            return left
        return (sha256(INNER_PREFIX + left[0] + EMPTY_ROOT).digest(), left, right)
    return (sha256(INNER_PREFIX + left[0] + right[0]).digest(), left, right)


def _split(leaves: list[Leaf], low: int, high: int, depth: int) -> int:
    """Give where the right half of ``leaves[low:high]`` begins, which agree in their first ``depth`` bits."""
    at, mask = depth >> 3, 0x80 >> (depth & 7)
    while low < high:
        middle = (low + high) >> 1
        if leaves[middle][1][at] & mask:
            high = middle
        else:
            low = middle + 1
    return low


def _subtree(leaves: list[Leaf], low: int, high: int, depth: int) -> Node:
    if high - low < 2:
        return leaves[low] if low < high else None
    middle = _split(leaves, low, high, depth)
    return _join(_subtree(leaves, low, middle, depth + 1), _subtree(leaves, middle, high, depth + 1))


class Batch:
    """The changes of one update, sorted by path; ``growth`` counts the leaves they add once applied."""

    __slots__ = ("_leaves", "growth")

    def __init__(self, changes: Mapping[bytes, bytes | None]) -> None:
        self._leaves = sorted((make_leaf(key, value) for key, value in changes.items()), key=_path_of)
        self.growth = 0

    def apply_to(self, node: Node) -> Node:
        """Give the tree ``node`` after all changes; ``node`` itself if nothing changed."""
        return self._apply(node, 0, len(self._leaves), 0)

    def _apply(self, node: Node, low: int, high: int, depth: int) -> Node:
        if low == high:
            return node
        if node is None or len(node) == 2:
            return self._settle(node, low, high, depth)
        if high - low == 1:
            return self._apply_one(node, low, depth)
        middle = _split(self._leaves, low, high, depth)
        left = self._apply(node[1], low, middle, depth + 1)
        right = self._apply(node[2], middle, high, depth + 1)
        return node if left is node[1] and right is node[2] else _join(left, right)

    def _apply_one(self, top: Inner, index: int, depth: int) -> Node:
        # Most of a batch ends in single changes, and for those a loop is faster than the recursion.
        path = self._leaves[index][1]
        trail: list[Inner] = []
        node: Node = top
        while node is not None and len(node) == 3:
            trail.append(node)
            node = node[2] if path[depth >> 3] & (0x80 >> (depth & 7)) else node[1]
            depth += 1
        changed = self._settle(node, index, index + 1, depth)
        if changed is node:
            return top
        for parent in reversed(trail):
            depth -= 1
            if path[depth >> 3] & (0x80 >> (depth & 7)):
                changed = _join(parent[1], changed)
            else:
                changed = _join(changed, parent[2])
        return changed

    def _settle(self, node: Leaf | None, low: int, high: int, depth: int) -> Node:
        """Apply changes where the old tree had at most one leaf."""
        leaves = [leaf for leaf in self._leaves[low:high] if leaf[0] != _DELETED]
        if node is None:
            self.growth += len(leaves)
            return _subtree(leaves, 0, len(leaves), depth)
        at = bisect_left(self._leaves, node[1], low, high, key=_path_of)
        if at == high or self._leaves[at][1] != node[1]:
            insort(leaves, node, key=_path_of)
        self.growth += len(leaves) - 1
        if len(leaves) == 1 and leaves[0] == node:
            return node
        return _subtree(leaves, 0, len(leaves), depth)
