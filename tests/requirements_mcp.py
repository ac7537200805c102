"""Promises of the MCP server and its guard; merged into ``tests/requirements.py``."""
# ruff: noqa: E501 - one promise a line

from __future__ import annotations

MCP: dict[str, str] = {
    # -- guard --------------------------------------------------------------------------------------
    # -- server -------------------------------------------------------------------------------------
    "mcp.read": "each read tool gives what the ledger says, now or as of a height, with its proof in _meta [issue 7]",
    "mcp.proven": "no tool believes a value that the node changed [issue 7]",
    "mcp.stale": "an answer from a stale header says so [issue 7]",
    "mcp.explain": "a proposal comes with its difference, proven, and the node's word on what is missing, marked [issue 7]",
    "mcp.audit-search": "the audit is searched by subject, release and heights, the newest first [issue 7]",
    "mcp.proof": "a proof file over MCP passes a stranger's judgement, for any key that an answer names [issue 7]",
    "mcp.strict": "arguments of another name, type or range are refused, never converted [issue 7; mcp notes 1]",
    "mcp.errors": "a refusal has a stable code and repeats nothing that was got [issue 7]",
    "mcp.tokens": "the tools are few, in one order, and cost a model at most 3,000 tokens [issue 7]",
    "mcp.budget": "an answer has a byte budget; what was cut says so, a cursor goes on at the same height [issue 7]",
    "mcp.pruning": "nulls, managed fields and invisible characters do not reach a model; any object fits its budget [issue 7]",
    "mcp.secrets": "what looks like a secret is a keyed digest; ordinary manifests pass as they are [issue 7]",
}
