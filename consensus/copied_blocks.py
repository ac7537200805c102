"""Light blocks carried in a file: the proof of a header for somebody without a wire.

Owns the file's form and its reading within limits. Promises that judging goes through ``VerifiedHeaders``, as
for a node that answers: a copy is believed no more than the node it came from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from consensus.headers import ReaderSettings, VerifiedHeaders
from consensus.light.bisection import REQUESTS_MAX
from consensus.light.fields import Fields
from consensus.light.parse import parse_light_block
from consensus.light.render import signed_header_json, validators_json
from consensus.light.types import LightBlock, SignedHeader, Trusted
from consensus.sources import BlockSource
from consensus.trust_store import TrustRoot, TrustStore
from ledger import canonical
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.types import Json

FORMAT = 1
_BLOCKS = "blocks"


class RecordedBlocks:
    """Passes blocks on and remembers them by height."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._blocks: dict[int, LightBlock] = {}

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        return self.light_block(height).signed_header

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``."""
        if height not in self._blocks:
            self._blocks[height] = self._source.light_block(height)
        return self._blocks[height]

    def content(self) -> bytes:
        """Give the file that holds what was asked for."""
        blocks = [_to_json(block) for _, block in sorted(self._blocks.items())]
        return canonical.dump({"format": FORMAT, _BLOCKS: blocks}) + b"\n"


class CopiedBlocks:
    """The blocks of such a file.

    Raises:
        VerificationFailed: HEADER_MALFORMED, VALIDATOR_SET_INVALID and whatever else is no light block.
    """

    def __init__(self, content: bytes) -> None:
        try:
            fields = Fields(canonical.parse(content), "proof")
            fields.only("format", _BLOCKS)
            if fields.get("format") != FORMAT:
                raise fields.malformed("format", fields.get("format"), f"{FORMAT}")
            blocks = [parse_light_block(item) for item in fields.items(_BLOCKS, REQUESTS_MAX)]
        except Refused as refusal:
            raise caused(VerificationFailed, Code.HEADER_MALFORMED, refusal) from None
        self._blocks = {block.height: block for block in blocks}

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        return self.light_block(height).signed_header

    def light_block(self, height: int) -> LightBlock:
        """Give the light block of ``height``.

        Raises:
            VerificationFailed: PROOF_MISSING.
        """
        if height not in self._blocks:
            raise VerificationFailed(
                Code.PROOF_MISSING,
                got=f"no block of height {height}",
                expected="every block that verification asks for",
                todo="name the header that proves the copy with --trust, or make the copy anew",
            )
        return self._blocks[height]


def verified_header(source: BlockSource, root: TrustRoot, height: int, clock: Callable[[], int]) -> Trusted:
    """Give the header of ``height``, verified from ``root`` with the blocks of ``source`` alone.

    Args:
        source: unverified blocks.
        root: what the operator trusts.
        height: the header wanted.
        clock: gives nanoseconds since the epoch.

    Raises:
        VerificationFailed: whatever does not verify.
        Refused: HEIGHT_NOT_AVAILABLE below the root.
        EnvironmentFault: the source's, or no room for a temporary file.
    """
    with tempfile.TemporaryDirectory(prefix="conclave-") as folder:
        store = TrustStore(Path(folder) / "trust.json")
        store.ensure(root)
        return VerifiedHeaders(source, store, clock=clock, options=ReaderSettings().options).at(height)


def _to_json(block: LightBlock) -> Json:
    following = None if block.next_validators is None else validators_json(block.next_validators)
    return {
        "signed_header": signed_header_json(block.signed_header),
        "validators": validators_json(block.validators),
        "next_validators": following,
    }
