"""Process scaffolding: clock, log, processes, supervision, tools. Holds no rule of the ledger."""
