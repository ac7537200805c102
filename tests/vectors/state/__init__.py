"""Published vectors for the proofs of ``state``."""
