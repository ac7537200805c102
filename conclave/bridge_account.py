"""What a bridge of this home says of itself, beyond what its reports say on the ledger.

Owns the reading of ``bridge-status.json``. Promises that a file which is not there, is too large or has
another form reads as nothing said. What it gives is unproven: it is shown beside what is verified, as words
of the bridge on this machine.
"""

from __future__ import annotations

import json

from conclave.home import Home
from ledger.limits import MIB
from ledger.types import JsonObject

FILE_BYTES_MAX = 16 * MIB


def said_of_objects(home: Home, cluster: str, release: str) -> dict[str, str]:
    """Give why each object of a release is not as it should be, by object id.

    Args:
        home: whose bridge.
        cluster: the bridge's.
        release: the release's name.
    """
    account = _read(home, cluster)
    releases = account.get("releases")
    found = releases.get(release) if isinstance(releases, dict) else None
    objects = found.get("objects") if isinstance(found, dict) else None
    listed = objects if isinstance(objects, list) else []
    return {str(o.get("object")): str(o.get("reason")) for o in listed if isinstance(o, dict)}


def _read(home: Home, cluster: str) -> JsonObject:
    try:
        with (home.bridge(cluster) / "bridge-status.json").open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        found = json.loads(content) if len(content) <= FILE_BYTES_MAX else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
