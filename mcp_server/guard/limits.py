"""Every maximum of the guard that no policy names, unit in its name. Those of policies: ``ledger.limits``.

A limit is checked before the work it bounds is done.
"""

from __future__ import annotations

from ledger.limits import ENVELOPE_BYTES_MAX, IDENTITIES_MAX, KIB

NS_PER_SECOND = 1_000_000_000

ANSWER_BYTES_MAX = ENVELOPE_BYTES_MAX
ARGUMENT_DEPTH_MAX = 48
"""A CustomResourceDefinition of today nests about 30 deep."""
ARGUMENT_VALUES_MAX = 250_000
KEY_BYTES_MAX = 512

OPEN_PROPOSALS_SECONDS = 60
"""How long a proposal let through may be unseen on the ledger."""

SEEN_PIECES_MAX = 2048
"""Pieces of opaque text and identifiers that a principal has said, kept as digests."""
SEEN_OBJECTS_MAX = 2048
SEEN_TOUCHES_MAX = 512
BUCKETS_MAX = 512
PRINCIPALS_MAX = IDENTITIES_MAX

PIECE_CHARS_MIN = 8
ENTROPY_WINDOW_CHARS = 64
ENTROPY_CHARS_MIN = 40
DECODE_CHARS_MIN = 16
DECODE_LAYERS_MAX = 2

FENCE_BYTES_MAX = 4 * KIB
SOURCE_BYTES_MAX = 256
