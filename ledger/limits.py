"""Every maximum of the ledger, unit in its name, relations asserted on import.

A limit is checked before the work it bounds is done. Changing one changes the protocol.
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

BODY_BYTES_MAX = 4 * MIB + 64 * KIB
"""A release of 4 MiB of canonical JSON, and its wrapping."""
ENVELOPE_BYTES_MAX = BODY_BYTES_MAX + 4 * KIB
BLOCK_BYTES_MAX = 8 * MIB
RPC_REQUEST_BYTES_MAX = 8 * MIB
"""An envelope in base64 inside a JSON-RPC request."""
RPC_ANSWER_BYTES_MAX = 32 * MIB
"""A full block in base64 with its JSON around it, with room."""
ABCI_MESSAGE_BYTES_MAX = 64 * MIB

JSON_DEPTH_MAX = 128
JSON_INTEGER_MAX = 2**53 - 1

SIGNATURES_PER_ENVELOPE_MAX = 4
KEY_ID_BYTES_MAX = 128
DID_BYTES_MAX = 256
CHAIN_ID_BYTES_MAX = 50
"""CometBFT's own limit."""
NAME_BYTES_MAX = 63
"""A DNS label, as Kubernetes has it."""
REASON_BYTES_MAX = 1024

NONCE_WINDOW_SIZE = 64
NONCE_MAX = JSON_INTEGER_MAX
NOT_AFTER_HORIZON_BLOCKS_MAX = 100_000
"""How far in the future an envelope's last height may lie."""

OBJECTS_PER_RELEASE_MAX = 4096
CLUSTERS_PER_RELEASE_MAX = 1000
RELEASES_PER_CLUSTER_MAX = 1000
CLUSTERS_MAX = 1000
IDENTITIES_MAX = 10_000
APPROVALS_PER_PROPOSAL_MAX = 64
PROPOSAL_TTL_BLOCKS_MAX = 100_000

STATE_KEY_BYTES_MAX = 512
HISTORY_HEIGHTS = 256
"""Recent heights whose state can still be queried with proof."""

assert BODY_BYTES_MAX < ENVELOPE_BYTES_MAX < BLOCK_BYTES_MAX
assert ENVELOPE_BYTES_MAX * 4 // 3 + 64 * KIB < RPC_REQUEST_BYTES_MAX
assert BLOCK_BYTES_MAX * 4 // 3 < RPC_ANSWER_BYTES_MAX
assert BLOCK_BYTES_MAX < ABCI_MESSAGE_BYTES_MAX
