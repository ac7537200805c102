"""Who calls, over HTTP: assertions of agents' keys, tokens bound to a key, proofs of holding it.

Pure but for the modules' callers: time, keys of the server and what is remembered are arguments.
Source: docs/spec/mcp-auth.md.
"""
