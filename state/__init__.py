"""Authenticated state: a tree that computes, a proof that convinces a stranger, a store that writes.

Owns the compact sparse Merkle tree, ICS-23 and RFC 6962 verification, the view a block works on, and what
touches disk (``state.store``, over ``state.level`` and ``state.owner``). Promises that a root depends on the
content alone. Knows nothing of releases, identities or rules.
"""
