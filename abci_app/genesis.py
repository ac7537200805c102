"""From the genesis document's ``app_state`` to the first state of the ledger.

Owns the strict reading of the ledger's genesis. Promises that a ledger is never started that no living set of
subjects could change. Source: docs/spec/ledger.md §3, authority.md §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abci_app.check import Constants
from abci_app.machine import configure, identities
from abci_app.machine.context import Context
from abci_app.machine.world import constitution_of
from ledger import canonical, codec, records, shape, statekeys
from ledger import identity as identity_rules
from ledger.authority.granting import check_depth
from ledger.changes import CONSTITUTION_KINDS, LedgerObject, read_ledger_object
from ledger.errors import Code, Refused
from ledger.keys import key_id
from ledger.limits import (
    AGENT_POLICIES_MAX,
    BINDINGS_MAX,
    BODY_BYTES_MAX,
    CHAIN_ID_BYTES_MAX,
    CLUSTERS_MAX,
    IDENTITIES_MAX,
    ROLES_MAX,
    RULES_MAX,
)
from ledger.records import Parameters, ProtocolRecord, ValidatorRecord, ValidatorsRecord
from ledger.types import Did, Json, SubjectKind
from state.reader import Overlay

_OBJECTS_MAX = ROLES_MAX + BINDINGS_MAX + RULES_MAX + CLUSTERS_MAX + IDENTITIES_MAX + AGENT_POLICIES_MAX
_ORDER = ("Cluster", "Identity", *CONSTITUTION_KINDS, "AgentPolicy")
"""Kinds of ledger object a genesis may hold, in the order they are put."""


@dataclass(frozen=True, slots=True)
class GenesisIdentity:
    """A subject by its did:key, as the genesis spells it."""

    did: Did
    name: codec.Name
    kind: SubjectKind
    organisation: str
    cluster: codec.Name | None = None


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    """A validator as CometBFT's genesis names it: 32 bytes of ed25519, and its power."""

    public_key: bytes
    power: int


class _Nothing:
    """The state before the first."""

    def get(self, key: bytes) -> bytes | None:
        """Give nothing."""
        del key
        return None


def genesis_state(
    app_state: bytes, chain_id: str, validators: Sequence[GenesisValidator] = (), time: int = 0
) -> dict[bytes, bytes]:
    """Give every state key of height 0.

    Args:
        app_state: JSON with ``parameters``, ``identities``, ``clusters`` and ``objects``, in any spelling
            (CometBFT re-spells it).
        chain_id: the chain's.
        validators: of the first height.
        time: of genesis, seconds.

    Raises:
        Refused: GENESIS_INVALID, with the cause's code, field and expectation.
    """
    try:
        ctx = _read(app_state, chain_id, validators, time)
    except Refused as refusal:
        raise Refused(
            Code.GENESIS_INVALID,
            got=refusal.got,
            expected=refusal.expected,
            todo="make the genesis with `conclave init`",
            **{"cause": refusal.code.name, **refusal.facts},
        ) from None
    return {key: value for key, value in ctx.state.changes().items() if value is not None}


def _read(app_state: bytes, chain_id: str, validators: Sequence[GenesisValidator], time: int) -> Context:
    if len(app_state) > BODY_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED, got=f"{len(app_state)} bytes", expected=f"at most {BODY_BYTES_MAX}"
        )
    shape.text(chain_id, "chain_id", bytes_max=CHAIN_ID_BYTES_MAX)
    value = canonical.parse(app_state)
    canonical.dump(value)  # what has no canonical form can be in no record
    document = shape.fields(value, "app_state", required=("parameters", "identities", "clusters", "objects"))
    parameters = codec.read(Parameters, document["parameters"], "app_state.parameters")
    ctx = Context(Overlay(_Nothing()), 0, time, Constants(chain_id, parameters))
    ctx.state.put(statekeys.LEDGER, records.write_ledger(chain_id))
    ctx.put(statekeys.PARAMETERS, parameters)
    ctx.put(statekeys.PROTOCOL, ProtocolRecord(1))
    for wanted in _clusters(document):
        configure.put_object(ctx, wanted, None)
    people = [
        codec.read(GenesisIdentity, v, f"app_state.identities[{i}]")
        for i, v in enumerate(_array(document, "identities", IDENTITIES_MAX))
    ]
    _check_once([p.did for p in people], "did")
    _check_once([p.name for p in people], "name")
    for person in people:
        configure.put_identity(ctx, _identity(person))
    _put_objects(ctx, document)
    _put_validators(ctx, people, validators)
    identities.check_not_locked_out(ctx)
    return ctx


def _put_objects(ctx: Context, document: Json) -> None:
    wanted = [
        read_ledger_object(v, f"app_state.objects[{i}]")
        for i, v in enumerate(_array(document, "objects", _OBJECTS_MAX))
    ]
    _check_once([f"{o.kind} {o.name}" for o in wanted], "object")
    for found in sorted(wanted, key=lambda o: (_place(o), o.name)):
        if found.kind == "Identity":
            configure.put_identity(
                ctx,
                identity_rules.read_identity_object(
                    found.name, found.spec, "spec", chain_id=ctx.constants.chain_id, height=0
                ),
            )
        else:
            configure.put_object(ctx, found, None)
    constitution = sorted((o.kind, o.name) for o in wanted if o.kind in CONSTITUTION_KINDS)
    configure.write_constitution(ctx, constitution, None)
    configure.check_references(ctx)
    made = constitution_of(ctx.state)
    for binding in made.bindings:
        check_depth(made, binding)


def _place(wanted: LedgerObject) -> int:
    if wanted.kind not in _ORDER:
        raise _invalid(wanted.kind, " | ".join(_ORDER))
    return _ORDER.index(wanted.kind)


def _clusters(document: Json) -> list[LedgerObject]:
    names = [
        shape.name(shape.fields(v, at, required=("name",))["name"], f"{at}.name")
        for v in _array(document, "clusters", CLUSTERS_MAX)
        for at in ("app_state.clusters",)
    ]
    _check_once(names, "cluster")
    return [LedgerObject("Cluster", name, {}, {}) for name in names]


def _identity(person: GenesisIdentity) -> identity_rules.IdentityRecord:
    if (person.cluster is not None) and person.kind is not SubjectKind.NODE:
        raise _invalid(
            f"{person.kind.value} {person.name} of cluster {person.cluster}", "a cluster for nodes only"
        )
    return identity_rules.did_key_identity(
        person.did, person.name, person.kind, person.organisation, person.cluster, 0
    )


def _put_validators(
    ctx: Context, people: Sequence[GenesisIdentity], validators: Sequence[GenesisValidator]
) -> None:
    nodes = {p.did.removeprefix("did:key:"): p for p in people if p.kind is SubjectKind.NODE}
    found = []
    for number, validator in enumerate(validators):
        identifier = key_id(validator.public_key)
        node = nodes.get(identifier)
        name = node.name if node else f"genesis-{number}"
        found.append(ValidatorRecord(name, identifier, validator.power, node.did if node else None))
    ctx.put(statekeys.VALIDATORS, ValidatorsRecord(tuple(sorted(found, key=lambda v: v.name))))


def _array(document: Json, field: str, items_max: int) -> list[Json]:
    return shape.array(document[field], f"app_state.{field}", items_max=items_max)


def _check_once(values: list[str], what: str) -> None:
    if len(set(values)) != len(values):
        twice = next(v for v in values if values.count(v) > 1)
        raise _invalid(f"{what} {twice} twice", f"every {what} once")


def _invalid(got: str, expected: str) -> Refused:
    return Refused(Code.GENESIS_INVALID, got=got, expected=expected)
