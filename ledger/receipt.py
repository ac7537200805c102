"""The ledger's answer to an envelope: its code, and what became of it.

Owns the bytes of a transaction result's ``data``, which consensus hashes; so it carries fixed fields only,
never prose. Source: docs/spec/ledger.md §5.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import canonical, shape
from ledger.errors import Code
from ledger.types import ProposalState

_DATA_BYTES_MAX = 4096
_FIELDS = ("envelope", "height", "proposal", "number", "state", "revision")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an included envelope did.

    Attributes:
        envelope: its id.
        height: the height that included it.
        proposal: id of the proposal it made, approved or rejected; None for reports.
        number: that proposal's number.
        state: that proposal's state afterwards.
        revision: the release revision that became final by it, if any.
    """

    envelope: str
    height: int
    proposal: str | None = None
    number: int | None = None
    state: ProposalState | None = None
    revision: int | None = None

    def to_bytes(self) -> bytes:
        """Give the canonical bytes of a transaction result's ``data``."""
        state = None if self.state is None else self.state.value
        return canonical.dump_plain({name: getattr(self, name) for name in _FIELDS} | {"state": state})


def from_bytes(content: bytes) -> Receipt:
    """Read the ``data`` of an accepted transaction result.

    Raises:
        Refused: any code of ``canonical`` and ``shape`` if the bytes are not a receipt.
    """
    value = shape.fields(canonical.load(content, bytes_max=_DATA_BYTES_MAX), "receipt", required=_FIELDS)
    number, revision = value["number"], value["revision"]
    state = value["state"]
    return Receipt(
        envelope=shape.digest(value["envelope"], "receipt.envelope"),
        height=shape.integer(value["height"], "receipt.height"),
        proposal=None if value["proposal"] is None else shape.digest(value["proposal"], "receipt.proposal"),
        number=None if number is None else shape.integer(number, "receipt.number", at_least=1),
        state=None
        if state is None
        else ProposalState(shape.choice(state, "receipt.state", list(ProposalState))),
        revision=None if revision is None else shape.integer(revision, "receipt.revision", at_least=1),
    )


def code_of(number: int) -> Code | None:
    """Give the code of a transaction result, or None for one this version does not know."""
    return Code(number) if number in Code._value2member_map_ else None
