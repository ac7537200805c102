"""Every maximum of the authenticated state and its proofs, unit in its name, and what a key and value may be.

Promises that a limit is checked before the work it bounds is done. Holds no state.
"""

from __future__ import annotations

from ledger.errors import Code, Refused
from ledger.limits import ENVELOPE_BYTES_MAX, KIB, MIB, RPC_ANSWER_BYTES_MAX, STATE_KEY_BYTES_MAX

STATE_VALUE_BYTES_MAX = ENVELOPE_BYTES_MAX
"""The largest value is an envelope as included."""

TREE_DEPTH_MAX = 256
"""One level a bit of SHA-256."""

PROOF_BYTES_MAX = 2 * (STATE_VALUE_BYTES_MAX + STATE_KEY_BYTES_MAX) + 64 * KIB
"""Absence carries both neighbours with their values, and two paths of ``TREE_DEPTH_MAX`` steps."""
PROOF_DEPTH_DEFAULT_MAX = 128
"""Steps of a path where the specification names no maximum (cosmos/ics23)."""

MERKLE_AUNTS_MAX = 100
"""CometBFT's own limit (crypto/merkle, MaxAunts)."""
MERKLE_TOTAL_MAX = 2**63 - 1
"""CometBFT counts leaves in an int64."""

RECENT_TREE_CHANGES_MAX = 20_000
"""Changes whose replaced nodes are kept in RAM for older heights, at about 2.5 kB each in the worst case."""
REBUILD_CHANGES_MAX = 200_000
"""Undo records read to rebuild one older tree, at about 15 µs each."""
REBUILT_TREES_MAX = 4
REMEMBERED_VALUES_MAX = 4096
REMEMBERED_VALUE_BYTES_MAX = KIB
"""Together 4 MiB of what the transactions of one block read."""
PRUNE_KEYS_MAX = 50_000
"""Expired undo records removed by one commit; the rest waits for the next."""

SNAPSHOT_CHUNK_BYTES = 3 * MIB
"""Every chunk but the last; gRPC clients take answers of 4 MiB, CometBFT's peers chunks of 16 MB."""
SNAPSHOT_CHUNKS_MAX = 4096
"""12 GiB of state; their hashes are 128 KiB of metadata, of the 4 MB a peer may send."""
RESTORE_BATCH_BYTES = 8 * MIB
"""Records of a restored snapshot written at once."""

assert TREE_DEPTH_MAX * 80 * 2 < 64 * KIB
assert PROOF_BYTES_MAX * 4 // 3 < RPC_ANSWER_BYTES_MAX


def check_key(key: bytes) -> None:
    """Refuse a key that the state cannot hold.

    Raises:
        Refused: FIELD_INVALID (empty: ICS-23 has no proof of it), LIMIT_EXCEEDED (over STATE_KEY_BYTES_MAX).
    """
    if not key:
        raise Refused(Code.FIELD_INVALID, got="empty key", expected="a key of at least one byte")
    if len(key) > STATE_KEY_BYTES_MAX:
        expected = f"a key of at most {STATE_KEY_BYTES_MAX} bytes"
        raise Refused(Code.LIMIT_EXCEEDED, got=len(key), expected=expected)


def check_value(key: bytes, value: bytes) -> None:
    """Refuse a value that the state cannot hold.

    Raises:
        Refused: FIELD_INVALID (empty: ICS-23 has no proof of it), LIMIT_EXCEEDED (STATE_VALUE_BYTES_MAX).
    """
    if not value:
        raise Refused(Code.FIELD_INVALID, got="empty value", expected="at least one byte", key=key.hex())
    if len(value) > STATE_VALUE_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=len(value),
            expected=f"a value of at most {STATE_VALUE_BYTES_MAX} bytes",
            key=key.hex(),
        )
