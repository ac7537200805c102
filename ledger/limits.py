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

MEMPOOL_TXS_MAX = 20_000
MEMPOOL_BYTES_MAX = 128 * MIB
"""What CometBFT's mempool holds by the configuration we write; the application refuses before it is full."""

JSON_DEPTH_MAX = 128
JSON_INTEGER_MAX = 2**53 - 1

SIGNATURES_PER_ENVELOPE_MAX = 8
KEY_ID_BYTES_MAX = 128
DID_BYTES_MAX = 256
CHAIN_ID_BYTES_MAX = 50
"""CometBFT's own limit."""
NAME_BYTES_MAX = 63
"""A DNS label, as Kubernetes has it."""
REASON_BYTES_MAX = 1024

NONCE_WINDOW_SIZE = 64
NONCE_AHEAD_MAX = 10_000
"""How far above the highest one used a nonce may be: as many as one signer can have waiting anywhere."""
REPORT_SEQUENCE_AHEAD_MAX = 10_000
"""How far above the last one of its cluster a report's sequence may be; a bridge takes the next one."""
NONCE_MAX = JSON_INTEGER_MAX
NOT_AFTER_HORIZON_BLOCKS_MAX = 100_000
"""How far in the future an envelope's last height may lie."""

OBJECTS_PER_RELEASE_MAX = 4096
CLUSTERS_PER_RELEASE_MAX = 1000
RELEASES_PER_CLUSTER_MAX = 1000
CLUSTERS_MAX = 1000
IDENTITIES_MAX = 10_000
APPROVALS_PER_PROPOSAL_MAX = 64
PROPOSAL_TTL_BLOCKS_MIN = 5
"""The block after a proposal's proves it, so the second after it is the first that can hold a judgement of
what was verified: this leaves four blocks for that."""
PROPOSAL_TTL_BLOCKS_MAX = 100_000

ROLES_MAX = 256
BINDINGS_MAX = 1024
RULES_MAX = 64
BREAK_GLASSES_MAX = 16
FREEZES_MAX = 128
FREEZES_OF_PEOPLE_MAX = 64
"""The rest is the machine's own: nobody can keep it from stopping a release."""
FREEZES_PER_SUBJECT_MAX = 16
"""Nobody can use up the brake of all others."""
VALIDATORS_MAX = 100
VALIDATOR_POWER_MAX = 2**53 - 1
"""Of all validators together; below CometBFT's own limit."""
ROLE_RULES_MAX = 32
PATTERNS_MAX = 64
"""Entries of one list of patterns, verbs or operations."""
PATTERN_BYTES_MAX = 253
DELEGATION_DEPTH_MAX = 3
QUORUM_ROLES_MAX = 8
TOUCH_CHECKS_MAX = 2_000_000
"""Touches times clusters of one change: what authority is asked about."""
OBJECTS_PER_CHANGE_MAX = 64
"""Ledger objects put or removed by one change."""
DELAY_SECONDS_MAX = 30 * 24 * 3600
LABELS_MAX = 16
LABEL_BYTES_MAX = 63

KEYS_PER_IDENTITY_MAX = 4
KEYS_LISTED_MAX = 64
"""Newest keys that an identity's record lists; earlier ones are in its earlier versions."""
COMMITMENTS_MAX = 8
"""Next key ids an identity may commit to."""

WAVES_MAX = 32
PROGRESS_DEADLINE_SECONDS_MAX = 24 * 3600
SETTLE_SECONDS_MAX = 24 * 3600
AUTOSCALES_PER_RELEASE_MAX = 64
RECREATES_PER_RELEASE_MAX = 256
HEALTH_RULES_PER_RELEASE_MAX = 32
HEALTH_EXPRESSION_BYTES_MAX = 256
CLAIMS_PER_OBJECT_MAX = 64
"""Releases, each on clusters of its own, that may have objects of one name."""
OBJECT_ID_BYTES_MAX = 1024
"""apiVersion 317, kind 63, namespace 63, name 253, and separators, with room."""
METRICS_PER_REPORT_MAX = 256
METRIC_SAMPLES_MAX = 32
REPLICAS_MAX = 10_000
AUTOSCALE_SECONDS_MAX = 24 * 3600
ROLLBACKS_KEPT_MAX = 16
AGENDA_ITEMS_PER_BLOCK_MAX = 256

INDEX_PAGE_ENTRIES_MAX = 128
INDEX_ENTRY_BYTES_MAX = 300
INDEX_ENTRIES_MAX = 200_000

ENVELOPES_PER_WINDOW_MAX = 1_000_000
OPEN_PROPOSALS_MAX = 256
URGENT_ENVELOPES_PER_WINDOW = 100
"""Beyond the ordinary ones, for freezes and revocations."""
RATE_WINDOW_BLOCKS = 100
"""Envelopes of one subject are counted anew in each span of so many heights."""

AGENT_POLICIES_MAX = 1024
AGENT_POLICY_BYTES_MAX = 64 * KIB
LOGS_PER_NODE_MAX = 64
ANCHORS_PER_LOG_MAX = 256
"""Newest anchors of an audit log that are kept by themselves; the newest stands for all."""
OBSERVATIONS_PER_AGENT_MAX = 64
OBSERVATION_BYTES_MAX = 1 * KIB
GUARDS_PER_AGENT_MAX = 16
AGENT_TOOLS_MAX = 64
TOOL_NAME_BYTES_MAX = 64
ARGUMENT_BYTES_MAX = ENVELOPE_BYTES_MAX
"""Of one call of a tool: nothing larger could be proposed."""
ARGUMENT_RULES_MAX = 64
ARGUMENT_PATH_BYTES_MAX = 256
OPAQUE_PATHS_MAX = 64
RATE_CAPACITY_MAX = 2**40
RATE_SECONDS_MAX = 24 * 3600
LOOP_CALLS_MAX = 64
"""Calls of an agent that are looked at together."""

STATE_KEY_BYTES_MAX = 512
HISTORY_HEIGHTS = 256
"""Recent heights whose state can still be queried with proof."""

assert BODY_BYTES_MAX < ENVELOPE_BYTES_MAX < BLOCK_BYTES_MAX
assert ENVELOPE_BYTES_MAX * 4 // 3 + 64 * KIB < RPC_REQUEST_BYTES_MAX
assert BLOCK_BYTES_MAX * 4 // 3 < RPC_ANSWER_BYTES_MAX
assert BLOCK_BYTES_MAX < ABCI_MESSAGE_BYTES_MAX
