"""What a secret looks like: the forms of keys and tokens that others publish, plain and encoded.

Promises linear patterns, anchored at literals; bounded decoding (base64 at any offset, hexadecimal). Never
gives what was found, only its kind. Source: the formats' own documentation; docs/spec/mcp-guard.md §4.
"""

from __future__ import annotations

import binascii
import re

from mcp_server.guard.limits import DECODE_CHARS_MIN, DECODE_LAYERS_MAX

_KINDS: dict[str, str] = {
    "private-key": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY|PuTTY-User-Key-File-|AGE-SECRET-KEY-1[A-Z0-9]{20}"
    r"|openssh-key-v1",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,4096}\.(?:eyJ[A-Za-z0-9_-]{8,8192}\."
    r"|[A-Za-z0-9_-]{0,2048}\.[A-Za-z0-9_-]{8,64}\.)",
    "aws-key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b|aws_secret_access_key\W{1,8}[A-Za-z0-9/+]{40}",
    "google-key": r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20}|\bGOCSPX-[A-Za-z0-9_-]{28}",
    "azure-key": r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40}|[?&]sig=[A-Za-z0-9%]{40}",
    "github-token": r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{60}",
    "gitlab-token": r"\bgl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_-]{20}",
    "slack-token": r"\bxox[abeprs]-[A-Za-z0-9-]{10}|\bxapp-[0-9]-[A-Za-z0-9-]{10}",
    "package-token": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-AgE[A-Za-z0-9_-]{20}|\bdckr_pat_[A-Za-z0-9_-]{20}",
    "service-token": r"\b[sr]k_live_[0-9a-zA-Z]{20}|\bdop_v1_[a-f0-9]{64}|\bSG\.[\w-]{22}\.[\w-]{20}"
    r"|\bhf_[A-Za-z0-9]{30}|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32}",
    "vault-token": r"\bhv[sbr]\.[A-Za-z0-9_-]{24}",
    "cluster-token": r"\bK10[0-9a-f]{64}::|\bclient-key-data\"?\s{0,4}:\s{0,4}\"?[A-Za-z0-9+/]{16}"
    r"|(?:\"|^|\s)token\"?:\s{1,4}\"?[A-Za-z0-9._-]{20}",
    "registry-login": r"\"auth\"\s{0,4}:\s{0,4}\"[A-Za-z0-9+/=]{12}",
    "url-login": r"://[^\s/:@\"<>{}$]{1,64}:[^\s/@\"<>{}$]{3,128}@[a-zA-Z0-9]",
}
_LITERALS: dict[str, tuple[str, ...]] = {
    "private-key": ("PRIVATE KEY", "PuTTY-User", "AGE-SECRET", "openssh-key"),
    "jwt": ("eyJ",),
    "aws-key": ("AKIA", "ASIA", "ABIA", "ACCA", "aws_sec"),
    "google-key": ("AIza", "ya29.", "GOCSPX-"),
    "azure-key": ("AccountKey=", "SharedAccessKey=", "sig="),
    "github-token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "gitlab-token": ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-"),
    "slack-token": ("xox", "xapp-"),
    "package-token": ("npm_", "pypi-AgE", "dckr_pat_"),
    "service-token": ("k_live_", "dop_v1_", "SG.", "hf_", "sk-"),
    "vault-token": ("hvs.", "hvb.", "hvr."),
    "cluster-token": ("K10", "client-key-data", "token"),
    "registry-login": ('"auth"',),
    "url-login": ("://",),
}
"""One of these is in everything that the kind's pattern matches, and is found much faster."""
_SECRETS = tuple((kind, _LITERALS[kind], re.compile(p, re.MULTILINE)) for kind, p in _KINDS.items())
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{DECODE_CHARS_MIN},}}+(?:[\r\n ]{{1,4}}[A-Za-z0-9+/_-]{{4,}}+)*+")
_HEX = re.compile(r"[0-9A-Fa-f]{32,}+")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_READABLE = re.compile(rb"[\t\n\r -~]{12,}+")
"""Nothing shorter is a secret's form."""

_SAYS_SECRET = re.compile(
    r"(?:^|[-_.])(?:password|passwd|passphrase|secret|token|api[-_.]?key|access[-_.]?key|private[-_.]?key"
    r"|client-key-data|credentials?)$|(?<=[a-z])(?:Password|Secret|Token|ApiKey|PrivateKey)$",
    re.IGNORECASE,
)
_NAME_ENDS = (
    *('password"', 'passwd"', 'passphrase"', 'secret"', 'token"', 'key"', 'key-data"'),
    *('credential"', 'credentials"'),
)
_LITERAL = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[!-~]{8,512}\Z")
_REFERENCE = re.compile(r"^[$/{<]|://|^[a-z]+(?:[-./][a-z0-9]+)*$|^[0-9.]+[a-z]{1,3}$")


def find(text: str) -> str:
    """Give the kind of the first secret in a text, as it stands or encoded; nothing where there is none."""
    layer = text
    for _ in range(DECODE_LAYERS_MAX + 1):
        found = find_plain(layer)
        if found:
            return found
        layer = _decoded(layer)
        if not layer:
            break
    return ""


def find_plain(text: str) -> str:
    """Give the kind of the first secret that stands in a text as it is."""
    for kind, literals, pattern in _SECRETS:
        if any(literal in text for literal in literals) and pattern.search(text) is not None:
            return kind
    return ""


def may_name(text: str) -> bool:
    """Tell quickly of a JSON text whether any name in it says secret."""
    lower = text.lower()
    return any(end in lower for end in _NAME_ENDS)


def may_encode(text: str) -> bool:
    """Tell whether anything in a text is long enough to hold something encoded."""
    return _RUN.search(text) is not None


def is_secret_by_name(name: str, value: str) -> bool:
    """Tell whether a field's name says secret and its value is one: literal, no reference, no plain word."""
    if not _LITERAL.match(value) or _REFERENCE.search(value):
        return False
    return _SAYS_SECRET.search(name) is not None


def _decoded(text: str) -> str:
    """Give what the encoded runs of a text say where that is readable, each run once."""
    found: list[bytes] = []
    for run in dict.fromkeys(_RUN.findall(text)):
        packed = run.encode().translate(_URL_SAFE, b"\r\n ")
        for offset in range(4):
            part = packed[offset:]
            found += _READABLE.findall(binascii.a2b_base64(part + b"A" * (-len(part) % 4)))
    for digits in dict.fromkeys(_HEX.findall(text)):
        for part in (digits, digits[1:]):
            found += _READABLE.findall(binascii.unhexlify(part[: len(part) // 2 * 2]))
    return b"\n".join(found).decode("ascii")
