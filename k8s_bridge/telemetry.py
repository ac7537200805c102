"""A bridge's account as numbers, and whether it is well.

Owns the metrics' names and the two judgements probes ask for: alive (restarting it would not help less than
waiting) and ready (what is final reaches the cluster through it, or through the bridge it stands by for).
Promises the Prometheus text format with every label value escaped, and that an account of any shape gives
text. Reads no clock: ages are arguments.

Source: Prometheus, exposition formats, text format 0.0.4; docs/guides/bridge-metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger.errors import Code
from ledger.types import JsonObject

LIVE_S = 300.0
"""A turn of the loop may wait a minute for a definition, and half a minute for each answer."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "conclave_bridge_"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a probe finds.

    Attributes:
        account: the newest, as ``bridge-status.json`` holds it; None before the loop's first turn.
        turn_age_s: since the loop last turned, or the bridge started.
        header_age_s: since the newest verified header was made; None before the first.
    """

    account: JsonObject | None
    turn_age_s: float
    header_age_s: float | None


def is_alive(moment: Moment) -> bool:
    """Whether the loop turns."""
    return moment.turn_age_s < LIVE_S


def why_not_ready(moment: Moment) -> list[str]:
    """Name what keeps the bridge from its work, by code; nothing where it is ready."""
    account = moment.account
    if account is None:
        return ["STARTING"]
    reasons = [] if is_alive(moment) else ["LOOP_STUCK"]
    hold, verdict = account.get("hold"), account.get("verdict")
    if isinstance(hold, dict):
        reasons.append(str(hold.get("name")))
    elif not account.get("height"):
        reasons.append(
            str(verdict.get("name")) if isinstance(verdict, dict) and verdict.get("code") else "STARTING"
        )
    kubernetes = account.get("kubernetes")
    if isinstance(kubernetes, dict) and kubernetes.get("code"):
        reasons.append(str(kubernetes.get("name")))
    return reasons


def exposition(moment: Moment) -> str:
    """Write the metrics."""
    account = moment.account or {}
    hold, kubernetes = _map(account, "hold"), _map(account, "kubernetes")
    lines = [
        *_metric(
            "ready", "gauge", "1 where what is final reaches the cluster.", {(): not why_not_ready(moment)}
        ),
        *_metric("turn_age_seconds", "gauge", "Since the loop last turned.", {(): moment.turn_age_s}),
        *_metric("writer", "gauge", "1 where this bridge writes, 0 where it stands by.", _writer(account)),
        *_metric("held", "gauge", "1 by the code of why nothing is applied.", _coded(hold)),
        *_metric(
            "verified_height", "gauge", "Height of the newest verified state.", {(): account.get("height")}
        ),
        *_metric(
            "verified_header_age_seconds",
            "gauge",
            "Age of the newest verified header.",
            {(): moment.header_age_s},
        ),
        *_metric(
            "kubernetes_reached", "gauge", "1 where the API server answers.", {(): _reached(kubernetes)}
        ),
        *_metric(
            "admission_intact",
            "gauge",
            "1 where the admission policies that were seen are as printed.",
            _intact(_map(account, "admission")),
        ),
    ]
    for name, kind, about, values in _of_releases(_map(account, "releases")):
        lines += _metric(name, kind, about, values)
    return "".join(f"{line}\n" for line in lines)


_Values = dict[tuple[tuple[str, str], ...], object]


def _of_releases(releases: Mapping[str, object]) -> Iterator[tuple[str, str, str, _Values]]:
    found = {name: account for name, account in sorted(releases.items()) if isinstance(account, dict)}
    table = (
        ("wanted_revision", "gauge", "Revision the ledger wants.", "wantedRevision"),
        ("applied_revision", "gauge", "Revision last carried out.", "revision"),
        ("drift_fixes_total", "counter", "Attempts that undid writes of others.", "undone"),
        ("last_apply_seconds", "gauge", "How long the last attempt took.", "applySeconds"),
    )
    for name, kind, about, field in table:
        values: _Values = {(("release", r),): account.get(field) for r, account in found.items()}
        yield f"release_{name}", kind, about, values
    in_place: _Values = {
        (("release", r),): account.get("outcome") == "applied" for r, account in found.items()
    }
    yield "release_in_place", "gauge", "1 where every object is as signed.", in_place
    refused: _Values = {
        (("release", r),): _map(account, "refusal").get("code", 0) for r, account in found.items()
    }
    yield "release_refusal_code", "gauge", "Code of why it cannot be planned at all, or 0.", refused
    contested: _Values = {(("release", r),): contested_in(account) for r, account in found.items()}
    yield "release_contested_objects", "gauge", "Objects others write again and again.", contested


def contested_in(account: JsonObject) -> int:
    """Count the contested objects in the account of a release."""
    objects = account.get("objects")
    listed = objects if isinstance(objects, list) else []
    return sum(isinstance(o, dict) and o.get("code") == Code.OBJECT_CONTESTED for o in listed)


def _intact(admission: JsonObject) -> _Values:
    return {(): not admission.get("wrong")} if admission.get("seen") and not admission.get("error") else {}


def _writer(account: JsonObject) -> _Values:
    writer = _map(account, "writer")
    return {(): writer.get("writing")} if "writing" in writer else {}


def _coded(hold: JsonObject) -> _Values:
    return {(("code", str(hold.get("name"))),): 1} if hold else {}


def _reached(kubernetes: JsonObject) -> object:
    return None if not kubernetes else not kubernetes.get("code")


def _map(account: JsonObject, name: str) -> JsonObject:
    found = account.get(name)
    return found if isinstance(found, dict) else {}


def _metric(name: str, kind: str, about: str, values: _Values) -> Iterator[str]:
    """Write one metric; values that are no numbers are left out, and a metric without values too."""
    numbers = {labels: value for labels, value in values.items() if isinstance(value, int | float)}
    if not numbers:
        return
    yield f"# HELP {PREFIX}{name} {about}"
    yield f"# TYPE {PREFIX}{name} {kind}"
    for labels, value in numbers.items():
        text = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels)
        yield f"{PREFIX}{name}{{{text}}} {_number(value)}" if text else f"{PREFIX}{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int) else f"{value:.3f}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
