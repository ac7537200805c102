"""What a bridge of this home says of itself, beyond what its reports say on the ledger.

Owns the reading of ``bridge-status.json``. Promises that a file which is not there, is too large or has
another form reads as nothing said. What it gives is unproven: it is shown beside what is verified, as words
of the bridge on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from conclave.home import Home
from ledger.limits import MIB
from ledger.types import JsonObject

FILE_BYTES_MAX = 16 * MIB


@dataclass(frozen=True, slots=True)
class Said:
    """Why an object is not in place, and why it is not well, by object id, as the bridge says."""

    objects: Mapping[str, str] = field(default_factory=dict)
    health: Mapping[str, str] = field(default_factory=dict)


def said_by(home: Home, cluster: str, release: str) -> Said:
    """Give what a bridge of this home says of a release's objects.

    Args:
        home: whose bridge.
        cluster: the bridge's.
        release: the release's name.
    """
    releases = _read(home, cluster).get("releases")
    found = releases.get(release) if isinstance(releases, dict) else None
    account = found if isinstance(found, dict) else {}
    objects, unhealthy = account.get("objects"), account.get("unhealthy")
    listed = objects if isinstance(objects, list) else []
    unwell = unhealthy if isinstance(unhealthy, dict) else {}
    return Said(
        {str(o.get("object")): str(o.get("reason")) for o in listed if isinstance(o, dict)},
        {str(name): str(o.get("reason")) for name, o in unwell.items() if isinstance(o, dict)},
    )


def _read(home: Home, cluster: str) -> JsonObject:
    try:
        with (home.bridge(cluster) / "bridge-status.json").open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        found = json.loads(content) if len(content) <= FILE_BYTES_MAX else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
