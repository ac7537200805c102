"""The record that halts a reader: two chains were proven, and a person has not yet decided.

Owns one file beside the trust store. Promises that it is written before anybody is told, whole or not at all
(temporary file, fsync, rename, fsync of the folder); that while it is there, damaged or not, nothing is
believed; and that no program takes it away but the verb by which a person names what to believe
(``conclave trust``). Never says which side is right.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.light.attack import AttackEvidence, evidence_json
from ledger.errors import Code, VerificationFailed, unwritable
from ledger.limits import MIB
from ledger.types import Json, JsonObject, sha256

FILE_NAME = "halted.json"
"""Its name in the folder of the trust store."""
_FORMAT = 1
_FILE_BYTES_MAX = 64 * MIB
"""Two pieces of evidence of the largest validator sets fit."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one side showed: where, and the hash of its header."""

    endpoint: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Sending:
    """One piece of evidence offered to one peer: ``accepted``, ``withheld`` or the refusal's code name."""

    against: str
    to: str
    answer: str


@dataclass(frozen=True, slots=True)
class Incident:
    """An attack that was proven.

    Attributes:
        chain_id: the chain.
        height: of the header that was to be believed.
        detected_at_ns: by this machine's clock, nanoseconds since the epoch.
        primary: the side that was asked.
        witness: the side that contradicted.
        evidence: by the endpoint accused, where it could be made.
        sent: who was told, and what they said.
    """

    chain_id: str
    height: int
    detected_at_ns: int
    primary: Shown
    witness: Shown
    evidence: tuple[tuple[str, AttackEvidence], ...] = ()
    sent: tuple[Sending, ...] = ()

    def to_json(self) -> JsonObject:
        """Give the record as it is kept; the evidence as ``/broadcast_evidence`` takes it."""
        accused: list[Json] = [
            {
                "against": endpoint,
                "kind": str(found.kind),
                "commonHeight": found.common_height,
                "byzantine": [v.address.hex().upper() for v in found.byzantine],
                "evidence": evidence_json(found),
            }
            for endpoint, found in self.evidence
        ]
        sent: list[Json] = [{"against": s.against, "to": s.to, "answer": s.answer} for s in self.sent]
        return {
            "format": _FORMAT,
            "chainId": self.chain_id,
            "height": self.height,
            "detectedAt": self.detected_at_ns,
            "primary": {"endpoint": self.primary.endpoint, "hash": self.primary.hash.hex()},
            "witness": {"endpoint": self.witness.endpoint, "hash": self.witness.hash.hex()},
            "accused": accused,
            "sent": sent,
        }


class IncidentFile:
    """The file at ``path``. Its folder must exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._halted: VerificationFailed | None = None

    def check(self) -> None:
        """Refuse to go on while an incident is not resolved.

        Raises:
            VerificationFailed: HEADERS_DIVERGED.
        """
        if os.path.lexists(self.path):
            raise self._refusal(self.read())
        if self._halted is not None:
            raise self._halted

    def read(self) -> JsonObject:
        """Give the record; ``{}`` where there is none or it is damaged."""
        try:
            with self.path.open("rb") as file:
                content = file.read(_FILE_BYTES_MAX + 1)
            value: Any = json.loads(content)
            del value["checksum"]
            sound = len(content) <= _FILE_BYTES_MAX and _sealed(value) == content
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        return value if sound and value.get("format") == _FORMAT else {}

    def record(self, incident: Incident) -> VerificationFailed:
        """Keep ``incident`` and give the refusal to raise.

        Where the file cannot be written, this process stays halted all the same, and the refusal says why it
        is not kept: ``notKept``.
        """
        content = incident.to_json()
        try:
            _replace(self.path, _sealed(content))
        except OSError as error:
            fault = unwritable(error, file=str(self.path))
            self._halted = self._refusal(content, notKept=f"{fault.code.name}: {fault.got}")
            return self._halted
        return self._refusal(content)

    def resolve(self) -> Path | None:
        """Set the record aside, because a person has named what to believe; give where it is kept.

        Raises:
            EnvironmentFault: HOME_INVALID, DISK_FULL.
        """
        if not os.path.lexists(self.path):
            return None
        kept = self.path.with_name(f"resolved-{self.read().get('detectedAt', 0)}.json")
        try:
            self.path.replace(kept)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise unwritable(error, file=str(self.path)) from None
        return kept

    def _refusal(self, content: JsonObject, **facts: str) -> VerificationFailed:
        accused: list[Any] = content.get("accused") or []
        got = "two chains were proven" if content else "a damaged record of an incident"
        if content:
            facts["primary"], facts["witness"] = (
                content["primary"]["endpoint"],
                content["witness"]["endpoint"],
            )
        return VerificationFailed(
            Code.HEADERS_DIVERGED,
            got=got,
            expected="one chain",
            todo="validators signed two chains: find out which is yours, then name a header of it: "
            "conclave trust --help",
            height=content.get("height", 0),
            accused={
                item["against"]: {name: item[name] for name in ("kind", "byzantine")} for item in accused
            },
            file=str(self.path),
            **facts,
        )


def _sealed(content: JsonObject) -> bytes:
    def canonical(value: JsonObject) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    return canonical(content | {"checksum": sha256(canonical(content)).hex()}) + b"\n"


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
