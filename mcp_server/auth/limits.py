"""Every maximum of authentication, unit in its name. Source: docs/spec/mcp-auth.md §6."""

from __future__ import annotations

from ledger.limits import KIB

JWS_CHARACTERS_MAX = 4 * KIB
"""Of an assertion, a token or a proof; longer ones are refused unread."""
FORM_BYTES_MAX = 16 * KIB
JTI_CHARACTERS_MAX = 128
URL_CHARACTERS_MAX = 512

CLOCK_SKEW_SECONDS = 30
"""How far two clocks may be apart."""
TOKEN_SECONDS_MAX = 600
TOKENS_KNOWN_MAX = 2**8
"""Tokens whose signature need not be checked again."""
ASSERTION_SECONDS_MAX = 300
"""How far an assertion's end may lie ahead."""
PROOF_SECONDS_MAX = 60
"""How old a proof may be."""

REPLAYS_MAX = 2**17
"""Ids remembered, of proofs or of assertions."""
REPLAYS_PER_KEY_MAX = 2**13
"""Of one key of the ledger, so that none fills the memory alone: near seventy requests a second."""
TOKEN_REQUESTS_WAITING_MAX = 32
"""Token requests by keys that got a token before; they wait beside the calls, taking turns with them."""
TOKEN_REQUESTS_PER_KEY_MAX = 2
"""Of these, of one key."""
STRANGERS_WAITING_MAX = 128
"""Token requests by any other keys, in a lane of their own: as many as there are connections."""
KEYS_KNOWN_MAX = 2**10
"""Keys that got a token before."""
