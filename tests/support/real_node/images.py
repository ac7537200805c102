"""Container images made of one busybox, as an OCI layout in a tar file: nothing is pulled from anywhere.

The same program gives the same digests every time. An image is recorded by tag and by digest: a runtime that
is never to pull starts ``NAME@sha256:…`` only where exactly that record exists.

Source: opencontainers/image-spec, image-layout.md; the devkube notes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from ledger.types import JsonObject

PAUSE = "docker.io/local/pause:1"
WEB = "docker.io/local/web:1"
PORT = 8080
_FOREVER_S = "2147483647"
_TOOLS = ("cat", "httpd", "ls", "sh", "sleep", "test", "true")
_MEDIA = "application/vnd.oci.image."


class Layout:
    """An OCI layout that grows by one image at a time."""

    def __init__(self, busybox: Path) -> None:
        self._busybox = busybox.read_bytes()
        self._files: dict[str, bytes] = {}
        self._manifests: list[JsonObject] = []

    def add(self, name: str, entrypoint: Sequence[str], page: bytes = b"") -> str:
        """Add an image that runs ``entrypoint``; gives its name by digest."""
        layer = self._blob(_layer(self._busybox, page), "layer.v1.tar")
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        described = self._blob(json.dumps(config).encode(), "config.v1+json")
        media = _MEDIA + "manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media, "config": described, "layers": [layer]}
        entry = self._blob(json.dumps(manifest).encode(), "manifest.v1+json")
        by_digest = f"{name.rpartition(':')[0]}@{entry['digest']}"
        for record in (name, by_digest):
            self._manifests.append(entry | {"annotations": {"io.containerd.image.name": record}})
        return by_digest

    def write(self, path: Path) -> None:
        """Write the layout as one tar file."""
        index = json.dumps({"schemaVersion": 2, "manifests": self._manifests}).encode()
        files = {**self._files, "index.json": index, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    def _blob(self, content: bytes, kind: str) -> JsonObject:
        digest = hashlib.sha256(content).hexdigest()
        self._files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": _MEDIA + kind, "digest": f"sha256:{digest}", "size": len(content)}


def _layer(busybox: bytes, page: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in (("bin/busybox", busybox), ("www/index.html", page)):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, len(text)
            archive.addfile(entry, io.BytesIO(text))
        for tool in _TOOLS:
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.mode, link.linkname = tarfile.SYMTYPE, 0o777, "busybox"
            archive.addfile(link)
    return content.getvalue()


def write_images(busybox: Path, path: Path) -> str:
    """Write the images of a node that pulls nothing; gives the name by digest of the web server."""
    layout = Layout(busybox)
    layout.add(PAUSE, ["/bin/busybox", "sleep", _FOREVER_S])
    web = layout.add(WEB, ["/bin/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/www"], b"here\n")
    layout.write(path)
    return web
