"""The tree under any history: its root is its content's, and all its proofs hold."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.proof import SMT, parse_proof, verify_membership, verify_non_membership
from state.tree import Tree
from tests.unit.state.naive import naive_root

KEYS = st.integers(0, 40).map(lambda number: b"key/%d" % number)
VALUES = st.binary(min_size=1, max_size=4)
CHANGES = st.dictionaries(KEYS, st.none() | VALUES, max_size=25)


def _apply(content: dict[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = {**content, **changes}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.requires("state.root-of-content", "state.tree-immutable")
@given(st.lists(CHANGES, max_size=12))
def test_interleaved_insertions_and_deletions(history: list[dict[bytes, bytes | None]]) -> None:
    content: dict[bytes, bytes] = {}
    tree = Tree()
    versions = [(tree, content)]
    for changes in history:
        tree, content = tree.update(changes), _apply(content, changes)
        versions.append((tree, content))
    for version, held in versions:
        assert version.root == naive_root(held)
        assert len(version) == len(held)
        assert version == Tree.build(held.items())


@pytest.mark.requires("state.root-of-content")
@given(st.dictionaries(KEYS, VALUES, min_size=1), st.data())
def test_one_batch_is_the_same_as_many(content: dict[bytes, bytes], data: st.DataObject) -> None:
    changes = data.draw(CHANGES)
    tree = Tree.build(content.items())
    single = tree
    for key in data.draw(st.permutations(list(changes))):
        single = single.update({key: changes[key]})
    assert single == tree.update(changes)


@pytest.mark.requires("state.proof-present", "state.proof-absent")
@given(st.dictionaries(KEYS, VALUES, min_size=1), KEYS)
def test_every_key_is_proven_one_way_and_not_the_other(content: dict[bytes, bytes], key: bytes) -> None:
    tree = Tree.build(content.items())
    proof = parse_proof(tree.prove(key, content.__getitem__).SerializeToString())
    if key in content:
        verify_membership(SMT, tree.root, proof, key, content[key])
    else:
        verify_non_membership(SMT, tree.root, proof, key)
