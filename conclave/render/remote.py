"""Telling a local path from something that would be fetched.

Owns the one judgement on entries of kustomizations and charts. Promises to err on the refusing side: what
a renderer could take for a URL, a git repository, a registry or a host is remote, whatever lies on the
disk. Pure.
"""

from __future__ import annotations

import re

from ledger.errors import Code, Refused

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(:|//)", re.ASCII)
_FORCED = re.compile(r"^(git|hg|s3|gcs|http|https|oci|ssh|file)::", re.IGNORECASE)
_SCP = re.compile(r"^[^/\s]+@[^/\s]+:|^[A-Za-z0-9.-]+\.[A-Za-z]{2,}:[^\\]")
_HOSTED = re.compile(
    r"^(www\.)?(github\.com|gitlab\.com|bitbucket\.org|gist\.github\.com|gh:)[/:]?", re.IGNORECASE
)
_HOST_PATH = re.compile(r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(:[0-9]+)?/.+")
_QUERY = re.compile(r"\?(ref|version|timeout|submodules|depth)=")


def is_remote(entry: str) -> bool:
    """Tell whether ``entry`` names something to be fetched by its form alone."""
    text = entry.strip()
    if _SCHEME.match(text) or _FORCED.match(text) or _SCP.match(text) or _HOSTED.match(text):
        return True
    return ".git/" in text or text.endswith(".git") or bool(_QUERY.search(text))


def could_be_remote(entry: str) -> bool:
    """Tell whether ``entry``, which is no local path, could be a host and a path to a renderer."""
    text = entry.strip()
    return is_remote(text) or "//" in text or bool(_HOST_PATH.match(text))


def refusal(file: str, entry: str, field: str) -> Refused:
    """Give the refusal that names the file and the entry."""
    return Refused(
        Code.REMOTE_SOURCE,
        got=f"{file}: {field}: {entry}",
        expected="local files only; nothing is ever fetched while rendering",
        todo="download it, check it, put it beside the file and name it by its path",
        file=file,
        field=field,
        entry=entry,
    )
