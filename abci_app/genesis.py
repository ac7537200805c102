"""From the genesis document's ``app_state`` to the first state of the ledger.

Owns the strict reading of the ledger's genesis. Promises that a ledger without an approval rule, or with one
that no living set of subjects could ever satisfy, is never started. Source: docs/spec/ledger.md §3.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import canonical, keys, records, shape, statekeys
from ledger.errors import Code, Refused
from ledger.limits import BODY_BYTES_MAX, CHAIN_ID_BYTES_MAX, CLUSTERS_MAX, IDENTITIES_MAX
from ledger.records import Parameters
from ledger.roles import DEFAULT_RULE, ApprovalRule, Identity, decide
from ledger.types import Json, SubjectKind

_RULES_MAX = 64


def genesis_state(app_state: bytes, chain_id: str) -> dict[bytes, bytes]:
    """Give every state key of height 0.

    Args:
        app_state: JSON with ``parameters``, ``identities``, ``rules`` and ``clusters``, in any spelling
            (CometBFT re-spells it).
        chain_id: the chain's.

    Raises:
        Refused: GENESIS_INVALID, with the cause's code, field and expectation.
    """
    try:
        return _read(app_state, chain_id)
    except Refused as refusal:
        if refusal.code is Code.GENESIS_INVALID:
            raise
        raise Refused(
            Code.GENESIS_INVALID,
            got=refusal.got,
            expected=refusal.expected,
            todo="make the genesis with `conclave init`",
            cause=refusal.code.name,
            **refusal.facts,
        ) from None


def _read(app_state: bytes, chain_id: str) -> dict[bytes, bytes]:
    if len(app_state) > BODY_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=f"{len(app_state)} bytes", expected=f"at most {BODY_BYTES_MAX}"
        )
    shape.text(chain_id, "chain_id", bytes_max=CHAIN_ID_BYTES_MAX)
    names = ("parameters", "identities", "rules", "clusters")
    document = shape.fields(canonical.parse(app_state), "app_state", required=names)
    parameters = records.read_parameters(canonical.dump(document["parameters"]))
    identities = [
        records.read_identity(canonical.dump(v)) for v in _array(document, "identities", IDENTITIES_MAX)
    ]
    rules = [records.read_rule(canonical.dump(v)) for v in _array(document, "rules", _RULES_MAX)]
    clusters = [
        shape.name(
            shape.fields(v, "app_state.clusters", required=("name",))["name"], "app_state.clusters.name"
        )
        for v in _array(document, "clusters", CLUSTERS_MAX)
    ]
    _check_identities(identities, clusters)
    _check_rules(rules, identities)
    return _state(chain_id, parameters, identities, rules, clusters)


def _array(document: Json, field: str, items_max: int) -> list[Json]:
    return shape.array(document[field], f"app_state.{field}", items_max=items_max)


def _check_identities(identities: Sequence[Identity], clusters: Sequence[str]) -> None:
    for field, values in (
        ("did", [i.did for i in identities]),
        ("name", [i.name for i in identities]),
        ("clusters", list(clusters)),
    ):
        if len(set(values)) != len(values):
            raise _invalid(f"a {field} twice", f"every {field} once")
    for identity in identities:
        keys.public_key_of(identity.did)
        if (identity.cluster is not None) != (identity.kind is SubjectKind.NODE):
            raise _invalid(
                f"{identity.kind.value} {identity.name} of cluster {identity.cluster}",
                "a cluster for each node and for nobody else",
            )
        if identity.cluster is not None and identity.cluster not in clusters:
            raise _invalid(f"{identity.name} of cluster {identity.cluster}", "a cluster of the genesis")


def _check_rules(rules: Sequence[ApprovalRule], identities: Sequence[Identity]) -> None:
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names) or DEFAULT_RULE not in names:
        raise _invalid(f"rules {', '.join(names) or 'none'}", f"every rule once, {DEFAULT_RULE} among them")
    for rule in rules:
        if not decide(rule, identities).approved:
            raise _invalid(
                f"rule {rule.name}: {rule.humans} humans of {rule.organisations} organisations",
                "a rule that the genesis identities can satisfy",
            )


def _state(
    chain_id: str,
    parameters: Parameters,
    identities: Sequence[Identity],
    rules: Sequence[ApprovalRule],
    clusters: Sequence[str],
) -> dict[bytes, bytes]:
    dids = tuple(sorted(i.did for i in identities))
    return {
        statekeys.LEDGER: records.write_ledger(chain_id),
        statekeys.PARAMETERS: records.write(parameters),
        statekeys.INDEX_IDENTITIES: records.write_names(dids, field="dids"),
        statekeys.INDEX_RULES: records.write_names(tuple(sorted(r.name for r in rules))),
        statekeys.INDEX_CLUSTERS: records.write_names(tuple(sorted(clusters))),
        **{statekeys.identity(i.did): records.write(i) for i in identities},
        **{statekeys.rule(r.name): records.write(r) for r in rules},
        **{statekeys.cluster(c): canonical.dump({"name": c}) for c in clusters},
    }


def _invalid(got: str, expected: str) -> Refused:
    return Refused(
        Code.GENESIS_INVALID, got=got, expected=expected, todo="make the genesis with `conclave init`"
    )
