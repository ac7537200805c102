"""What the machine wrote beside what the reference knows.

Owns ``compare``. Promises that each record the reference has an idea of is read from the state itself.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ledger import statekeys
from ledger.limits import ROLLBACKS_KEPT_MAX
from tests.property.abci_app.reference import Reference

Pair = tuple[str, Any, Any]
"""What is compared, as the machine wrote it, and as the reference knows it."""


class Different(AssertionError):
    """Machine and reference disagree."""


def compare(content: Mapping[bytes, bytes], reference: Reference, proposals: list[str]) -> None:
    """Compare all cases, releases, desired revisions, freezes, suspensions and incidents.

    Args:
        content: the machine's state.
        reference: after the same.
        proposals: the ids of the reference's cases; of the newest it may be missing yet.

    Raises:
        Different: with the first difference.
    """
    for name, met, wanted in _pairs(content, reference, proposals):
        if met != wanted:
            raise Different(f"{name}: machine {met}, reference {wanted}")


def _pairs(content: Mapping[bytes, bytes], reference: Reference, proposals: list[str]) -> Iterator[Pair]:
    for identifier, case in zip(proposals, reference.cases, strict=False):
        record = _read(content, statekeys.proposal(identifier))
        voices = (len(record["approvals"]), len(record["rejections"]))
        met = (record["state"], record["expires"], record["code"], *voices)
        wanted = (case.state, case.expires, case.code, len(case.approvals), len(case.rejections))
        yield f"case {record['number']}", met, wanted
    for name in reference.releases.by_name:
        yield from _of_release(content, reference, name, proposals)
        yield from _of_rollout(content, reference, name)
    freezes = _read(content, statekeys.FREEZES, {"freezes": []})["freezes"]
    yield "freezes", {f["name"]: f["releases"][0] for f in freezes}, reference.releases.freezes
    cut_off = {_read(content, key)["name"] for key in content if key.startswith(b"suspension/")}
    yield "suspensions", cut_off, {who.name for who in reference.suspended}
    count = _read(content, statekeys.INCIDENTS, {"count": 0})["count"]
    yield "incidents", count, len(reference.releases.incidents)
    for number, incident in enumerate(reference.releases.incidents, 1):
        found = _read(content, statekeys.incident(number))
        told = {field: found[field] for field in ("kind", "release", "revision")}
        yield f"incident {number}", {**told, "new_revision": found["newRevision"]}, vars(incident)


def _of_release(
    content: Mapping[bytes, bytes], reference: Reference, name: str, proposals: list[str]
) -> Iterator[Pair]:
    release, record = reference.releases.by_name[name], _read(content, statekeys.release(name))
    met = (record["revision"], record["healthy"], record["rollbacks"])
    yield name, met, (len(release.revisions), release.healthy, release.rollbacks[-ROLLBACKS_KEPT_MAX:])
    for number, revision in enumerate(release.revisions, 1):
        found = _read(content, statekeys.revision(name, number))
        told = (found["content"], tuple(found["clusters"]), found["rollbackOf"], found["cause"])
        wanted = (proposals[revision.content], revision.clusters, revision.rollback_of, revision.cause)
        yield f"{name} {number}", told, wanted
    for cluster in reference.releases.clusters:
        desired = _read(content, statekeys.desired(cluster, name), {"revision": None})["revision"]
        yield f"{name} on {cluster}", desired, reference.releases.desired.get((cluster, name))


def _of_rollout(content: Mapping[bytes, bytes], reference: Reference, name: str) -> Iterator[Pair]:
    rollout, found = reference.releases.by_name[name].rollout, _read(content, statekeys.rollout(name))
    if rollout is None:
        raise Different(f"{name}: no rollout")
    met = tuple(found[field] for field in ("revision", "state", "wave", "waves", "automatic"))
    wanted = (rollout.revision, rollout.word, rollout.wave, rollout.waves, rollout.automatic)
    yield f"rollout of {name}", met, wanted
    words = {cluster["name"]: cluster["state"] for cluster in found["clusters"]}
    yield f"places of {name}", words, {at: place.word for at, place in rollout.places.items()}


def _read(content: Mapping[bytes, bytes], key: bytes, absent: Any = None) -> Any:
    found = content.get(key)
    return absent if found is None else _loads(found)


@functools.lru_cache(maxsize=4096)
def _loads(content: bytes) -> Any:
    return json.loads(content)
