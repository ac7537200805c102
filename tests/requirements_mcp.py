"""Promises of the MCP server and its guard; merged into ``tests/requirements.py``."""
# ruff: noqa: E501 - one promise a line

from __future__ import annotations

MCP: dict[str, str] = {
    # -- guard --------------------------------------------------------------------------------------
    "guard.policy": "a policy is read strictly and written back the same; what no rule names is refused [mcp-guard.md 2]",
    "guard.smuggling": "unknown fields, wrong types, huge and deep arguments are refused, never mended [issue 7 red team]",
    "guard.namespace-tricks": "a namespace or kind has one spelling and is covered by name or not at all [issue 7 red team]",
    "guard.disguise": "hidden, turning and dressed-up characters are refused; every script may be used as a whole [mcp-guard.md 4]",
    "guard.fence": "untrusted text stays inside its fence, capped [mcp-guard.md 6]",
    "guard.secrets": "keys and tokens are found plain or encoded, in arguments and answers, and not repeated [issue 7 red team]",
    "guard.exfiltration": "random-looking content is refused in one value and by its sum over many calls [issue 7 red team]",
    "guard.no-false-alarm": "every real manifest and a day of ordinary traffic raise nothing [issue 7 false alarms]",
    "guard.loops": "a loop is warned of, refused, then suspended; progress and polling are none [mcp-guard.md 5]",
    "guard.budgets": "buckets in whole numbers never give more than their rate, by tool and by agent [mcp-guard.md 3]",
    "guard.proposals": "open proposals are bounded, also while the ledger does not show them [issue 7 red team]",
    "guard.suspension": "who trips or is refused too often is cut off until a person lifts it [mcp-guard.md 1]",
    "guard.first-touch": "what is outside the usual is flagged once [mcp-guard.md 2]",
    "guard.memory": "a principal's memory is bounded, a judgement changes no earlier state [mcp-guard.md 1]",
    # -- what the ledger knows of agents --------------------------------------------------------------
    "agents.policy": "a policy is of the agent it is named after, watched over by nodes, bounded, put by the quorum [agents.md 1]",
    "agents.policy-read": "a policy, or that there is none, is read by the agent's DID with proof [agents.md 1]",
    "agents.suspension": "a guard or a person who may cuts an agent off at once; only the quorum lets it speak again [agents.md 2]",
    "agents.suspension-proposals": "what a suspended agent asked for is neither approved nor executed [agents.md 2]",
    # -- proposing ----------------------------------------------------------------------------------
    "mcp.edits": "a model's change to a release names what changes; all else stays as it was signed [issue 7]",
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
    "mcp.live": "a model reads a running ledger: status, a proposal and what it misses, a proof a stranger verifies [issue 7]",
    "mcp.transports": "clients of both eras list, call and read over standard streams and HTTP [issue 7]",
    "mcp.hostile-stdio": "any line is answered with a code and the next one served [issue 7 Bad input]",
    "mcp.hostile-http": "any bytes, a huge or a slow request get an answer or a clean close; others are served [issue 7 Bad input]",
    "mcp.host-origin": "another Host, Origin, method or path is refused before the protocol sees it [issue 7]",
    "mcp.lazy": "no verb but mcp loads the protocol's package [mcp notes 1]",
    "mcp.chain": "every call passes the chain before it is done, and its result after; what does not pass is not done [issue 7]",
    "mcp.prompts": "resources, prompts and completions are the tools' answers by other names [issue 7]",
    "mcp.served": "a fault of ours or too many calls end one call with a code, not the server [issue 7 Bad input]",
    "mcp.config": "the configuration for a client starts this server and holds no secret [issue 7]",
    "mcp.secrets": "what looks like a secret is a keyed digest; ordinary manifests pass as they are [issue 7]",
}
