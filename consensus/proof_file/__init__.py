"""Proofs of the ledger in one file, for somebody without a wire. Source: docs/spec/proof-file.md."""
