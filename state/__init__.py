"""Authenticated state: a tree that computes, a proof that convinces a stranger, a store that writes.

Owns the compact sparse Merkle tree, ICS-23 and RFC 6962 verification, the view a block works on and the
one file that touches disk (``state.store``). Promises that a root depends on the content alone.
Knows nothing of releases, identities or rules.
"""
