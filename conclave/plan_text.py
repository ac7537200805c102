"""The steps of a plan as people and programs read them.

Owns the differences field by field and the masking. Promises that no value of a Secret is shown, only whether
it changes, and that text of the cluster is bounded. Pure.
"""

from __future__ import annotations

from collections import Counter

from conclave import changes
from conclave.output import Output
from conclave.plan_preview import Preview, observed
from k8s_bridge.objects import content_of
from k8s_bridge.order import STAGE_FOUNDATION
from k8s_bridge.plan import Action, Step
from ledger.errors import Code
from ledger.manifest import group_of
from ledger.types import Json, JsonObject

MASK = "***"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MARKS = {
    Action.CREATE: ("+", "add"),
    Action.CONFIGURE: ("~", "warn"),
    Action.RECREATE: ("±", "warn"),
    Action.UNCHANGED: (" ", "dim"),
    Action.DELETE: ("-", "remove"),
    Action.SKIP: (".", "dim"),
    Action.CONFLICT: ("!", "bad"),
    Action.REFUSED: ("!", "bad"),
}
_SHOWS_FIELDS = frozenset({Action.CREATE, Action.CONFIGURE, Action.RECREATE})


def steps_json(preview: Preview) -> list[JsonObject]:
    """Give every step, in order."""
    return [
        {
            "action": step.action.value,
            "object": str(step.key),
            "stage": _stage(step),
            "wanted": step.wanted,
            "reason": step.reason,
            "code": None if step.code is Code.OK else step.code.name,
            "takeover": step.foreign is not None,
            "diff": list(fields(preview, step)),
        }
        for step in preview.steps
    ]


def fields(preview: Preview, step: Step) -> tuple[str, ...]:
    """Give the unified difference of a step that applies, Secrets masked; empty for every other."""
    if step.action not in _SHOWS_FIELDS:
        return ()
    live, after = observed(preview, step)
    # Made anew, nothing of what was there stays.
    wanted = step.manifest if step.action is Action.RECREATE else after
    before = None if live is None else content_of(live)
    return changes.differences(*masked(before, None if wanted is None else content_of(wanted)))


def masked(
    before: JsonObject | None, after: JsonObject | None
) -> tuple[JsonObject | None, JsonObject | None]:
    """Hide the values of a Secret on both sides; one that changes is marked so."""
    if not any(_is_secret(side) for side in (before, after)):
        return before, after
    return _hidden(before, after, "before"), _hidden(after, before, "after")


def show(preview: Preview, output: Output) -> None:
    """Print the steps for people; what stays as it is is only counted."""
    for number, step in enumerate(preview.steps, 1):
        if step.action is Action.UNCHANGED:
            continue
        mark, style = _MARKS[step.action]
        code = "" if step.code is Code.OK else f" {step.code.name}:"
        output.line(f"{mark} {number:>3} {_stage(step):<10} {step.action.value:<9} {step.key}", style)
        if step.reason:
            output.line(f"        {code.strip()}{' ' if code else ''}{step.reason}", "dim")
        lines = fields(preview, step)
        for line in lines[: changes.DIFF_LINES_MAX]:
            output.line(f"        {line}", {"+": "add", "-": "remove", "@": "dim"}.get(line[:1], ""))
        if len(lines) > changes.DIFF_LINES_MAX:
            output.line(f"        … {len(lines) - changes.DIFF_LINES_MAX} more lines", "dim")
    output.line(summary(preview))


def summary(preview: Preview) -> str:
    """Give one line such as ``create 1, configure 2, unchanged 3``."""
    counts = Counter(step.action for step in preview.steps)
    return ", ".join(f"{action.value} {counts[action]}" for action in Action if counts[action]) or "no steps"


def _stage(step: Step) -> str:
    if not step.wanted:
        return "prune"
    return "foundation" if step.stage == STAGE_FOUNDATION else "objects"


def _is_secret(manifest: JsonObject | None) -> bool:
    return manifest is not None and (group_of(manifest), manifest.get("kind")) == ("", "Secret")


def _hidden(side: JsonObject | None, other: JsonObject | None, when: str) -> JsonObject | None:
    if side is None:
        return None
    found = dict(side)
    for name in ("data", "stringData"):
        if isinstance(side.get(name), dict):
            found[name] = _marked(side[name], (other or {}).get(name), when)
        elif name in side:
            found[name] = MASK
    metadata = side.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(annotations, dict) and _LAST_APPLIED in annotations:
        found["metadata"] = {**metadata, "annotations": {**annotations, _LAST_APPLIED: MASK}}
    return found


def _marked(values: JsonObject, others: Json, when: str) -> JsonObject:
    known = others if isinstance(others, dict) else {}
    return {
        key: MASK if key not in known or known[key] == value else f"{MASK} ({when})"
        for key, value in values.items()
    }
