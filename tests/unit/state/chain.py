"""A small deterministic history: what each height changes, and the content that results."""

from __future__ import annotations

from state.batch import Committed, stage
from state.store import Store
from state.tree import Tree

KEYS = 40


def changes_of(height: int) -> dict[bytes, bytes | None]:
    """Give the changes of ``height``: new, overwritten, deleted and unchanged keys."""
    changes: dict[bytes, bytes | None] = {
        b"key/%d" % ((height * 7 + step) % KEYS): b"%d/%d" % (height, step) for step in range(6)
    }
    changes[b"key/%d" % (height % KEYS)] = None
    changes[b"height"] = b"%d" % height
    changes[b"constant"] = b"always"
    return changes


def content_at(height: int) -> dict[bytes, bytes]:
    """Give the content after ``height``."""
    content: dict[bytes, bytes] = {}
    for past in range(1, height + 1):
        for key, value in changes_of(past).items():
            if value is None:
                content.pop(key, None)
            else:
                content[key] = value
    return content


def tree_of(height: int) -> Tree:
    """Give the tree of ``height``, built from its content."""
    return Tree.build(content_at(height).items())


def grow(store: Store, to: int) -> Committed:
    """Commit every height up to ``to``."""
    while store.committed.height < to:
        height = store.committed.height + 1
        store.commit(stage(store.committed, height, 1, changes_of(height)))
    return store.committed
