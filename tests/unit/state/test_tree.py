"""The tree: roots by definition, deletion that collapses, older versions untouched."""

from __future__ import annotations

import hashlib

import pytest

from ledger.errors import Code, EnvironmentFault, Refused
from ledger.limits import STATE_KEY_BYTES_MAX
from state.limits import STATE_VALUE_BYTES_MAX
from state.proof import SMT, verify_membership, verify_non_membership
from state.tree import Tree
from tests.unit.state.naive import naive_root


def _content(count: int) -> dict[bytes, bytes]:
    return {b"key/%d" % number: b"value %d" % number for number in range(count)}


def _twins(shared_bits: int) -> tuple[bytes, bytes]:
    """Find two keys whose hashes agree in their first ``shared_bits`` bits and not in the next."""
    seen: dict[int, bytes] = {}
    for number in range(1 << 20):
        key = b"%d" % number
        prefix = int.from_bytes(hashlib.sha256(key).digest(), "big") >> (255 - shared_bits)
        if prefix ^ 1 in seen:
            return seen[prefix ^ 1], key
        seen[prefix] = key
    raise AssertionError("no twins")


@pytest.mark.requires("state.root-of-content")
def test_small_roots_by_definition() -> None:
    assert Tree().root == bytes(32)
    key, value = hashlib.sha256(b"k").digest(), hashlib.sha256(b"v").digest()
    leaf = hashlib.sha256(b"\x00" + key + value).digest()
    assert Tree().update({b"k": b"v"}).root == leaf
    content = _content(300)
    assert Tree.build(content.items()).root == naive_root(content)
    assert len(Tree.build(content.items())) == 300


@pytest.mark.requires("state.root-of-content")
def test_root_is_the_same_by_any_road() -> None:
    content = _content(200)
    built = Tree.build(content.items())
    one_by_one = Tree()
    for key in sorted(content, key=lambda key: hashlib.sha256(b"shuffle" + key).digest()):
        one_by_one = one_by_one.update({key: content[key]})
    detour = (
        Tree()
        .update({**content, b"gone": b"x", b"key/1": b"old"})
        .update({b"gone": None, b"key/1": b"value 1"})
    )
    assert built.root == one_by_one.root == detour.root
    assert len(built) == len(one_by_one) == len(detour) == 200


@pytest.mark.requires("state.root-of-content")
def test_deletion_collapses_a_lone_leaf_to_where_it_would_have_been() -> None:
    one, other = _twins(14)
    for rest in ({}, _content(3)):
        lone = Tree.build([*rest.items(), (one, b"1")])
        both = lone.update({other: b"2"})
        assert both.root == naive_root({**rest, one: b"1", other: b"2"})
        assert both.update({other: None}) == lone
        assert both.update({other: None, one: None}).root == naive_root(rest)
        assert both.update({other: None, one: b"3"}).root == naive_root({**rest, one: b"3"})
    assert Tree.build([(one, b"1"), (other, b"2")]).update({one: None, other: None}) == Tree()


@pytest.mark.requires("state.tree-immutable")
def test_older_trees_stay_as_they_were() -> None:
    content = _content(50)
    old = Tree.build(content.items())
    root, proof = old.root, old.prove(b"key/7", content.__getitem__)
    new = old.update({b"key/7": b"changed", b"key/8": None, b"more": b"x"})
    assert (old.root, len(old), len(new)) == (root, 50, 50)
    assert old.prove(b"key/7", content.__getitem__) == proof
    assert new.root != root


@pytest.mark.requires("state.tree-no-change")
def test_no_change_gives_the_same_tree() -> None:
    content = _content(50)
    tree = Tree.build(content.items())
    assert tree.update({}) is tree
    assert tree.update(content) is tree
    assert tree.update({b"absent/1": None, b"absent/2": None, b"key/3": b"value 3"}) is tree
    assert Tree().update({b"absent": None}).root == bytes(32)


@pytest.mark.requires("state.key-value-limits")
@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (b"", b"v", Code.FIELD_INVALID),
        (b"", None, Code.FIELD_INVALID),
        (b"k", b"", Code.FIELD_INVALID),
        (b"k" * (STATE_KEY_BYTES_MAX + 1), b"v", Code.LIMIT_EXCEEDED),
        (b"k", bytes(STATE_VALUE_BYTES_MAX + 1), Code.LIMIT_EXCEEDED),
    ],
)
def test_what_the_state_cannot_hold_is_refused(key: bytes, value: bytes | None, code: Code) -> None:
    with pytest.raises(Refused) as refusal:
        Tree().update({key: value})
    assert refusal.value.code is code
    assert len(Tree().update({b"k" * STATE_KEY_BYTES_MAX: bytes(STATE_VALUE_BYTES_MAX)})) == 1


@pytest.mark.requires("state.proof-absent")
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_absence_is_proven_at_both_ends_and_between(count: int) -> None:
    content = _content(count)
    tree = Tree.build(content.items())
    sides = set()
    for number in range(300):
        key = b"absent/%d" % number
        proof = tree.prove(key, content.__getitem__)
        verify_non_membership(SMT, tree.root, proof, key)
        sides.add((proof.nonexist.HasField("left"), proof.nonexist.HasField("right")))
    assert sides == (
        {(True, False), (False, True), (True, True)} if count > 1 else {(True, False), (False, True)}
    )


@pytest.mark.requires("state.proof-present")
def test_presence_is_proven_through_chains_of_empty_branches() -> None:
    one, other = _twins(14)
    content = {one: b"1", other: b"2"}
    tree = Tree.build(content.items())
    proof = tree.prove(one, content.__getitem__)
    verify_membership(SMT, tree.root, proof, one, b"1")
    assert len(proof.exist.path) == 15
    for number in range(200):
        key = b"absent/%d" % number
        verify_non_membership(SMT, tree.root, tree.prove(key, content.__getitem__), key)


@pytest.mark.requires("state.proof-value-checked")
def test_a_wrong_value_is_not_proven() -> None:
    tree = Tree.build([(b"k", b"v")])
    for key in (b"k", b"absent"):
        with pytest.raises(EnvironmentFault) as fault:
            tree.prove(key, lambda _: b"other")
        assert fault.value.code is Code.STATE_CORRUPT


@pytest.mark.requires("state.proof-absent")
def test_an_empty_tree_has_no_proof() -> None:
    with pytest.raises(Refused) as refusal:
        Tree().prove(b"k", lambda _: b"v")
    assert refusal.value.code is Code.PROOF_MISSING
