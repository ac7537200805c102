"""Any history of key changes against a plain model: a list of versions, and who signed for whom."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import identity, key_set
from ledger.errors import Code
from ledger.identity import IdentityRecord
from tests.support.key_rings import committed, identity_of, plain, presented
from tests.support.refusal import outcome

POOL = [plain(f"key {i}") for i in range(10)]
PLACE = {key.key_id: i for i, key in enumerate(POOL)}
SETS = st.sets(st.integers(0, len(POOL) - 1), min_size=1, max_size=3)
STEPS = st.tuples(
    st.sampled_from(("rotate", "rotate", "recover", "revoke", "deactivate")),
    SETS,
    st.booleans(),
    SETS,
    st.sets(st.integers(0, len(POOL) - 1), max_size=4),
    st.integers(0, 2),
)


@dataclass
class Model:
    """The spec in sets of numbers."""

    active: set[int]
    next: set[int]
    retired: set[int] = field(default_factory=set)
    revoked: set[int] = field(default_factory=set)
    ended: bool = False

    def follow(self, kind: str, new: set[int], following: set[int], signed: set[int]) -> bool:
        """Rotate or recover, if the spec lets."""
        seen = self.active | self.retired | self.revoked
        allowed = not self.ended and new <= self.next and not new & seen and new <= signed
        old = signed - new
        allowed &= bool(old) and old <= self.active if kind == "rotate" else not old
        if allowed:
            (self.retired if kind == "rotate" else self.revoked).update(self.active)
            self.active, self.next = set(new), set(following)
        return allowed

    def revoke(self, named: set[int]) -> bool:
        """Revoke the named keys, if some of them can be."""
        living = self.active | self.retired
        if not named & living or not named <= living | self.revoked:
            return False
        self.active, self.retired, self.revoked = (
            self.active - named,
            self.retired - named,
            self.revoked | named,
        )
        return True

    def deactivate(self) -> bool:
        """End it."""
        if self.ended:
            return False
        self.revoked |= self.active | self.retired
        self.active, self.retired, self.next, self.ended = set(), set(), set(), True
        return True


def named(numbers: set[int]) -> tuple[str, ...]:
    """Give key ids."""
    return tuple(POOL[i].key_id for i in sorted(numbers))


Step = tuple[str, set[int], bool, set[int], set[int], int]


def take(record: IdentityRecord, model: Model, step: Step, height: int) -> tuple[IdentityRecord | None, bool]:
    """Take a step on both; give the new record or None, and whether the model allows it."""
    kind, new, honest, signed, following, _ = step
    if honest:
        # Mostly what a subject would do; else nearly nothing is ever allowed.
        new = set(sorted(model.next)[:2]) or new
        signed = new | (set(sorted(model.active)[:1]) if kind == "rotate" else set())
    if kind == "deactivate":
        return outcome(lambda: identity.deactivate(record, height))[0], model.deactivate()
    if kind == "revoke":
        return outcome(lambda: identity.revoke(record, named(new), height))[0], model.revoke(new)
    change = identity.rotate if kind == "rotate" else identity.recover
    keys, ids = presented(*(POOL[i] for i in new)), named(signed)
    commitments = committed(*(POOL[i] for i in following))
    found, code = outcome(lambda: change(record, keys, commitments, ids, height))
    if not model.next and not model.ended:
        assert code is Code.ROTATION_IMPOSSIBLE
    return found, model.follow(kind, new, following, signed)


@pytest.mark.requires("ledger.rotation", "ledger.recovery", "ledger.revocation", "ledger.identity-as-of")
@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(1, 9), max_size=4), st.lists(STEPS, max_size=12))
def test_any_history_of_key_changes_is_what_the_model_says(first: set[int], steps: list[Step]) -> None:
    record, model, height = identity_of((POOL[0],), [POOL[i] for i in first]), Model({0}, set(first)), 1
    versions = [record]
    for step in steps:
        height += step[-1]
        found, allowed = take(record, model, step, height)
        assert (found is not None) == allowed
        if found is None:
            continue
        record = found
        versions.append(record)
        sets = {
            state: {PLACE[k.key_id] for k in record.keys if k.state is state} for state in key_set.KeyState
        }
        assert tuple(sets.values()) == (
            model.active,
            model.retired,
            model.revoked,
        )
        assert {
            i for i in PLACE.values() if not record.is_revoked(POOL[i].key_id)
        } == model.active | model.retired
        assert record.next == committed(*(POOL[i] for i in model.next))
        assert record.is_living == bool(model.active or model.next)
        assert identity.read_identity(identity.write_identity(record)) == record
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
    for asked in range(height + 2):
        fitting = [version for version in versions if version.height <= asked]
        at = identity.version_at(record, lambda number: versions[number - 1], asked)
        assert at == (fitting[-1] if fitting else None)


@pytest.mark.requires("ledger.key-objects")
@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=4)
        | st.sampled_from(("rotate", "ed25519")),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("keyId", "algorithm", "publicKey", "purposes")), inner, min_size=3
            )
        ),
        max_leaves=6,
    )
)
def test_any_json_as_a_key_set_is_refused_by_code(value: object) -> None:
    assert outcome(lambda: key_set.read_key_objects(value, "keys"))[1] is not Code.OK
    assert outcome(lambda: identity.read_identity_object("a", value, "spec", chain_id="c", height=1))[1]
