"""The history that storage campaigns write: what each height changes, and what is right at each.

Owns ``History``: that of ``tests.unit.state.chain`` and, beside it, values that do not compress, so that
logs cross their blocks and tables have several. Promises the same bytes for the same size. Touches no disk.
"""

from __future__ import annotations

import hashlib

from state.batch import stage
from state.store import Store
from state.tree import Tree
from tests.unit.state import chain

SLOTS = 5
KEYS = (
    b"height",
    b"constant",
    b"absent",
    *(b"key/%d" % number for number in range(0, chain.KEYS, 3)),
    *(b"large/%d" % slot for slot in range(SLOTS)),
)


class History:
    """What each height changes; ``blob`` bytes of it do not compress."""

    def __init__(self, blob: int) -> None:
        self._blob = blob
        self._contents: list[dict[bytes, bytes]] = [{}]
        self._trees: dict[int, Tree] = {}

    def changes_of(self, height: int) -> dict[bytes, bytes | None]:
        """Give the changes of ``height``."""
        large = hashlib.shake_128(height.to_bytes(8, "big")).digest(self._blob)
        return {**chain.changes_of(height), b"large/%d" % (height % SLOTS): large}

    def content_of(self, height: int) -> dict[bytes, bytes]:
        """Give the content after ``height``."""
        while len(self._contents) <= height:
            content = dict(self._contents[-1])
            for key, value in self.changes_of(len(self._contents)).items():
                if value is None:
                    content.pop(key, None)
                else:
                    content[key] = value
            self._contents.append(content)
        return self._contents[height]

    def tree_of(self, height: int) -> Tree:
        """Give the tree of ``height``, built from its content alone."""
        if height not in self._trees:
            self._trees[height] = Tree.build(self.content_of(height).items())
        return self._trees[height]

    def grow(self, store: Store, to: int) -> None:
        """Commit every height up to ``to``."""
        while store.committed.height < to:
            height = store.committed.height + 1
            store.commit(stage(store.committed, height, 1, self.changes_of(height)))
