"""The replicated ledger as an ABCI application and the two transports that serve it."""
