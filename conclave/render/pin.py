"""Image tags to digests.

Owns the pin file and its use. Promises that a pin is used only for exactly the reference it names, that
the tag stays in front of the digest for people, and that a reference with a digest is never changed.
Never asks a registry.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

from conclave.render.strict_yaml import read_documents
from ledger.errors import Code, Refused
from ledger.limits import MIB
from ledger.manifest import images
from ledger.types import Json, JsonObject

PIN_FILE_BYTES_MAX = MIB
PINS_MAX = 10_000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_pins(paths: tuple[Path, ...]) -> dict[str, str]:
    """Read pin files: a YAML or JSON map ``image:tag: sha256:…``, or lines ``image:tag sha256:…``.

    Raises:
        Refused: PIN_FILE_INVALID with file and line, or with two digests for one image.
    """
    pins: dict[str, str] = {}
    for path in paths:
        for image, digest, line in _read(path):
            if not _DIGEST.fullmatch(digest) or "@" in image or not image or re.search(r"\s", image):
                raise _invalid(path, line, f"{image} {digest}"[:200])
            if pins.setdefault(image, digest) != digest:
                raise _invalid(path, line, f"two digests for {image}")
            if len(pins) > PINS_MAX:
                raise _invalid(path, line, f"more than {PINS_MAX} pins")
    return pins


def pinned(manifest: JsonObject, pins: dict[str, str]) -> JsonObject:
    """Give the manifest with ``@sha256:…`` appended to each image that ``pins`` names."""
    changes = [(path, f"{image}@{pins[image]}") for path, image in images(manifest) if image in pins]
    if not changes:
        return manifest
    result = copy.deepcopy(manifest)
    for path, image in changes:
        _put(result, path, image)
    return result


def _put(root: Json, path: str, value: str) -> None:
    steps: list[str | int] = [name or int(index) for name, index in _STEP.findall(path)]
    for step in steps[:-1]:
        root = root[step]
    root[steps[-1]] = value


def _read(path: Path) -> list[tuple[str, str, int]]:
    try:
        with path.open("rb") as file:
            content = file.read(PIN_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise _invalid(path, 0, str(reason)) from error
    if len(content) > PIN_FILE_BYTES_MAX:
        raise _invalid(path, 0, f"more than {PIN_FILE_BYTES_MAX} bytes")
    lines = _read_lines(content)
    if lines is not None:
        return lines
    try:
        documents = read_documents(content, path.name)
    except Refused as error:
        raise _invalid(path, error.facts.get("line", 0), error.got) from error
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise _invalid(path, 1, "neither a map nor lines")
    return [(str(image), str(digest), 1) for image, digest in documents[0].value.items()]


def _read_lines(content: bytes) -> list[tuple[str, str, int]] | None:
    """Read the form of lines; None if any line has another form."""
    found: list[tuple[str, str, int]] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        parts = text.split()
        if len(parts) != 2 or parts[0].endswith(":") or not parts[1].startswith("sha256:"):
            return None
        found.append((parts[0], parts[1], number))
    return found


def _invalid(path: Path, line: int, problem: str) -> Refused:
    return Refused(
        Code.PIN_FILE_INVALID,
        got=f"{path}:{line}: {problem}" if line else f"{path}: {problem}",
        expected="a map image:tag: sha256:<64 hex>, or lines image:tag sha256:<64 hex>",
        todo="write the digest your registry shows for that tag" if line else "check the path of --pin",
        file=str(path),
        **({"line": line} if line else {}),
    )
