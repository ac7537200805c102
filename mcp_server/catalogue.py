"""The tools, in one table: name, what for, arguments, what comes back.

Promises a fixed order, no tool that approves or executes, and schemas that say exactly what is accepted. The
whole table costs a model at most ``TOKENS_MAX`` tokens, counted as the bytes of ``tools/list`` over four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.limits import (
    CLUSTERS_PER_RELEASE_MAX,
    DID_BYTES_MAX,
    OBJECT_ID_BYTES_MAX,
    OBSERVATION_BYTES_MAX,
    REASON_BYTES_MAX,
    REPLICAS_MAX,
    STATE_KEY_BYTES_MAX,
)
from ledger.types import JsonObject, ProposalState
from mcp_server import (
    arguments,
    audit_tools,
    authority_tools,
    proof_tool,
    proposal_tools,
    propose_tools,
    read_tools,
)
from mcp_server.arguments import Field
from mcp_server.edits import EDITS_MAX
from mcp_server.read_tools import Asked, Entry

TOOLS_MAX = 14
TOKENS_MAX = 3000
ITEMS_MAX = 100
_INTEGERS = frozenset(
    {"version", "height", "revision", "appliedRevision", "number", "expires", "bytes", "proposal"}
)
_LISTS = frozenset({"releases", "problems", "approvers", "clusters", "approvals", "rejections", "objects"})
_OBJECTS = frozenset({"labels", "rollout", "change", "spec", "manifest", "nodeSays", "provenBy", "from"})


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        told: the names of what its entries hold, beside which they may hold more.
        note: tells what an answer does not cover; None where it covers everything.
        writes: whether it says something to the ledger, as the agent that calls.
        opens_proposal: whether what it says is a proposal.
        opaque: where its answers hold what looks random and belongs there (docs/spec/mcp-guard.md §4).
    """

    name: str
    description: str
    fields: tuple[Field, ...]
    run: Callable[[Asked], Sequence[Entry]]
    told: tuple[str, ...]
    note: Callable[[Asked], str | None] = lambda _: None
    writes: bool = False
    opens_proposal: bool = False
    opaque: tuple[str, ...] = ()

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """Its own fields, and those of every list where it gives one."""
        return self.fields if self.writes else (*self.fields, *arguments.paging(ITEMS_MAX))

    @property
    def input_schema(self) -> JsonObject:
        """The JSON Schema of its arguments."""
        return arguments.schema(self.all_fields)

    @property
    def output_schema(self) -> JsonObject:
        """The JSON Schema of its answers."""
        properties = {name: _type_of(name) for name in self.told}
        items: JsonObject = {"type": "array", "items": {"type": "object", "properties": properties}}
        return {
            "type": "object",
            "properties": {"items": items, "next": {"type": "string"}, "readAt": {"type": "object"}},
            "required": ["items", "readAt"],
        }

    def read(self, given: object) -> JsonObject:
        """Read arguments. Raises as ``arguments.read``."""
        return arguments.read(self.all_fields, given)


def _type_of(name: str) -> JsonObject:
    if name in _INTEGERS:
        return {"type": "integer"}
    if name in _LISTS:
        return {"type": "array"}
    return {"type": "object" if name in _OBJECTS else "string"}


_RELEASE = arguments.name("release")
_REVISION = arguments.integer("revision")
_REASON = arguments.text("reason", REASON_BYTES_MAX, required=True)
_DRY_RUN = arguments.boolean("dryRun")
_PROPOSED = ("number", "state", "forAHuman")
IMAGE_BYTES_MAX = 512

TOOLS: tuple[Tool, ...] = (
    Tool(
        "get_clusters",
        "Clusters with labels and releases.",
        (arguments.name("name"),),
        read_tools.clusters,
        ("name", "labels", "releases"),
    ),
    Tool(
        "get_releases",
        "Each release on each cluster: wanted and applied revision, health, rollout, problem objects.",
        (_RELEASE, arguments.name("cluster"), arguments.boolean("problems")),
        read_tools.releases,
        ("release", "cluster", "revision", "appliedRevision", "health", "problems"),
    ),
    Tool(
        "get_object",
        "One ledger object. A Release lists its objects' ids and images; `object`: the manifest of an id.",
        (
            arguments.choice("kind", authority_tools.KINDS, required=True),
            arguments.name("name", required=True),
            _REVISION,
            arguments.text("object", OBJECT_ID_BYTES_MAX),
        ),
        authority_tools.one_object,
        ("name", "revision", "objects", "manifest", "spec"),
    ),
    Tool(
        "get_history",
        "Revisions of a release, newest first: when, by which proposal, who approved.",
        (arguments.name("release", required=True),),
        read_tools.history,
        ("revision", "height", "proposal", "approvers"),
    ),
    Tool(
        "get_proposals",
        "Proposals, newest first.",
        (arguments.choice("state", [state.value for state in ProposalState]), _RELEASE),
        read_tools.proposals,
        ("number", "state", "change", "proposer", "approvals", "expires"),
    ),
    Tool(
        "explain_proposal",
        "One proposal: reason, difference to what is final, what is missing (the node's word, unproven).",
        (arguments.integer("number", required=True),),
        proposal_tools.explain,
        ("number", "state", "reason", "nodeSays", "forAHuman"),
    ),
    Tool(
        "get_incidents",
        "Freezes, then incidents, newest first.",
        (_RELEASE,),
        read_tools.incidents,
        ("kind", "height", "reason"),
    ),
    Tool(
        "search_audit",
        "Who did what: proposals, judgements, incidents, freezes, identity changes, newest first. "
        "subject: name or DID.",
        (
            arguments.text("subject", DID_BYTES_MAX),
            _RELEASE,
            arguments.integer("fromHeight"),
            arguments.integer("toHeight"),
        ),
        audit_tools.search,
        ("event", "height", "by", "number"),
        audit_tools.coverage,
    ),
    Tool(
        "get_authority",
        "Who may do what: identities and keys, roles, bindings, approval rules, parameters.",
        (arguments.choice("section", authority_tools.SECTIONS, required=True),),
        authority_tools.authority,
        ("name", "kind", "version", "spec"),
    ),
    Tool(
        "export_proof",
        "A proof file that `conclave verify` checks offline. name: a release, a proposal's number or id. "
        "Only where a policy says so: a state key from _meta; `inline` includes the file.",
        (
            arguments.choice("what", proof_tool.KINDS, required=True),
            arguments.text("name", STATE_KEY_BYTES_MAX),
            _REVISION,
            arguments.boolean("inline"),
        ),
        proof_tool.prove,
        ("sha256", "bytes", "provenBy", "verify", "proof"),
        opaque=("items.*.proof",),
    ),
    Tool(
        "propose_release",
        "Propose a release or a change of one; people approve. images, objects (whole manifests; Secrets "
        "without data), remove (ids); of a new one clusters and namespace too. dryRun: what would change and "
        "be missing; nothing is proposed.",
        (
            arguments.name("release", required=True),
            _REASON,
            arguments.several(
                arguments.record(
                    "images",
                    (
                        arguments.text("object", OBJECT_ID_BYTES_MAX, required=True),
                        arguments.name("container", required=True),
                        arguments.text("image", IMAGE_BYTES_MAX, required=True),
                    ),
                ),
                at_most=EDITS_MAX,
            ),
            arguments.several(arguments.manifest("objects"), at_most=EDITS_MAX),
            arguments.several(arguments.text("remove", OBJECT_ID_BYTES_MAX), at_most=EDITS_MAX),
            arguments.several(arguments.name("clusters"), at_most=CLUSTERS_PER_RELEASE_MAX),
            arguments.name("namespace"),
            _DRY_RUN,
        ),
        propose_tools.propose_release,
        _PROPOSED,
        writes=True,
        opens_proposal=True,
        opaque=("**.proposal",),
    ),
    Tool(
        "request_change",
        "Ask for scale (object, replicas), rollback (toRevision) or pause of a release; people decide.",
        (
            arguments.choice("operation", propose_tools.OPERATIONS, required=True),
            arguments.name("release", required=True),
            _REASON,
            arguments.text("object", OBJECT_ID_BYTES_MAX),
            arguments.integer("replicas", at_least=0, at_most=REPLICAS_MAX),
            arguments.integer("toRevision"),
            _DRY_RUN,
        ),
        propose_tools.request_change,
        _PROPOSED,
        writes=True,
        opens_proposal=True,
        opaque=("**.proposal",),
    ),
    Tool(
        "withdraw_proposal",
        "Take back an open proposal of your own.",
        (arguments.integer("number", required=True), arguments.text("reason", REASON_BYTES_MAX)),
        propose_tools.withdraw_proposal,
        ("number", "state"),
        writes=True,
    ),
    Tool(
        "report_observation",
        "Write down for people what you saw.",
        (
            arguments.text("text", OBSERVATION_BYTES_MAX, required=True),
            _RELEASE,
        ),
        propose_tools.report_observation,
        ("state",),
        writes=True,
    ),
)
READ_TOOLS = tuple(tool for tool in TOOLS if not tool.writes)
BY_NAME: dict[str, Tool] = {tool.name: tool for tool in TOOLS}

assert len(TOOLS) <= TOOLS_MAX
assert len(BY_NAME) == len(TOOLS)
