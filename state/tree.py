"""The compact sparse Merkle tree: the root of the state and the proofs under it.

Owns one immutable version of the state's commitment (the nodes are ``state.node``'s). Promises that the root
depends on the key/value set alone, never on history, and that an update leaves every older tree usable.
Never holds values, never touches disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.pb.proof_pb2 import (
    NO_PREFIX,
    SHA256,
    CommitmentProof,
    ExistenceProof,
    InnerOp,
    LeafOp,
    NonExistenceProof,
)
from state.limits import check_key
from state.node import (
    EMPTY_ROOT,
    INNER_PREFIX,
    LEAF_PREFIX,
    PATH_BYTES,
    Batch,
    Leaf,
    Node,
    bit,
    build,
    leaf_hash,
    make_leaf,
    sha256,
)


@dataclass(frozen=True, slots=True)
class Tree:
    """One immutable version of the state's tree; ``Tree()`` is the empty one."""

    _node: Node = None
    _count: int = 0

    @classmethod
    def build(cls, items: Iterable[tuple[bytes, bytes]]) -> Tree:
        """Make a tree of distinct ``(key, value)`` pairs in any order, one hash a node.

        Raises:
            Refused: a key or value the state cannot hold.
        """
        leaves = [make_leaf(key, value) for key, value in items]
        return cls(build(leaves), len(leaves))

    @property
    def root(self) -> bytes:
        """The 32-byte root hash; 32 zero bytes for the empty tree."""
        return EMPTY_ROOT if self._node is None else self._node[0]

    def __len__(self) -> int:
        return self._count

    def update(self, changes: Mapping[bytes, bytes | None]) -> Tree:
        """Give the tree after ``changes``: key → value, or None to delete; what is absent stays absent.

        Raises:
            Refused: a key or value the state cannot hold.
        """
        batch = Batch(changes)
        node = batch.apply_to(self._node)
        return self if node is self._node else Tree(node, self._count + batch.growth)

    def prove(self, key: bytes, value_of: Callable[[bytes], bytes]) -> CommitmentProof:
        """Prove that ``key`` is here, or that it is not, to any ICS-23 verifier with ``SmtSpec``.

        Args:
            key: the key asked for.
            value_of: gives the value of a key that is in this version: the key's own, or its neighbours'.

        Raises:
            Refused: the key is not one the state can hold; PROOF_MISSING where the tree is empty (ICS-23 has
                no proof of absence then).
            EnvironmentFault: STATE_CORRUPT where ``value_of`` gives another value than the tree was made of.
        """
        check_key(key)
        if self._node is None:
            raise Refused(Code.PROOF_MISSING, got="an empty tree", expected="a state with at least one key")
        path = sha256(key).digest() + key
        left, found, right = _locate(self._node, path)
        if found is not None:
            return CommitmentProof(exist=_existence(self._node, found, value_of))
        absence = NonExistenceProof(key=key)
        if left is not None:
            absence.left.CopyFrom(_existence(self._node, left, value_of))
        if right is not None:
            absence.right.CopyFrom(_existence(self._node, right, value_of))
        return CommitmentProof(nonexist=absence)


def _edge(node: Node, side: int) -> Leaf | None:
    """Give the outermost leaf of a subtree: ``side`` 1 for the left end, 2 for the right end."""
    while node is not None and len(node) == 3:
        near, far = (node[1], node[2]) if side == 1 else (node[2], node[1])
        node = far if near is None else near
    return node


def _locate(node: Node, path: bytes) -> tuple[Leaf | None, Leaf | None, Leaf | None]:
    """Find the leaf of ``path`` or, where it is absent, its neighbours in path order: left, found, right."""
    before: Node = None
    after: Node = None
    depth = 0
    while node is not None and len(node) == 3:
        if bit(path, depth):
            before = node[1] if node[1] is not None else before
            node = node[2]
        else:
            after = node[2] if node[2] is not None else after
            node = node[1]
        depth += 1
    if node is None:
        return _edge(before, 2), None, _edge(after, 1)
    if node[1] == path:
        return None, node, None
    if node[1] < path:
        return node, None, _edge(after, 1)
    return _edge(before, 2), None, node


def _existence(node: Node, leaf: Leaf, value_of: Callable[[bytes], bytes]) -> ExistenceProof:
    path = leaf[1]
    key = path[PATH_BYTES:]
    value = value_of(key)
    if leaf_hash(path, value) != leaf[0]:
        raise EnvironmentFault(
            Code.STATE_CORRUPT,
            got="a value that is not the one the tree was made of",
            todo="stop this node and restore its state from a peer",
            key=key.hex(),
        )
    steps: list[InnerOp] = []
    depth = 0
    while node is not None and len(node) == 3:
        left = EMPTY_ROOT if node[1] is None else node[1][0]
        right = EMPTY_ROOT if node[2] is None else node[2][0]
        if bit(path, depth):
            steps.append(InnerOp(hash=SHA256, prefix=INNER_PREFIX + left))
            node = node[2]
        else:
            steps.append(InnerOp(hash=SHA256, prefix=INNER_PREFIX, suffix=right))
            node = node[1]
        depth += 1
    steps.reverse()
    operation = LeafOp(
        hash=SHA256, prehash_key=SHA256, prehash_value=SHA256, length=NO_PREFIX, prefix=LEAF_PREFIX
    )
    return ExistenceProof(key=key, value=value, leaf=operation, path=steps)
