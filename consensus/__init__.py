"""Talking to consensus and believing only what verifies. Contains no consensus algorithm: CometBFT is that."""
