"""Talking to consensus and believing only what verifies. Holds no consensus algorithm: CometBFT is that."""
