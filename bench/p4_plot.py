"""The two distributions of P4, drawn as SVG and as text.

Owns the drawing. Promises one picture for one set of numbers. Measures nothing.
"""

from __future__ import annotations

BINS = 40
_WIDTH, _HEIGHT, _MARGIN = 800, 320, 50
_COLOURS = {"verified": "#1f6feb", "applied": "#d29922"}
_FONT = 'font-family="sans-serif" font-size="13"'
_TEXT_WIDTH = 50


def svg(verified: list[float], applied: list[float], bridges: int) -> str:
    """Draw how many bridges had verified, and applied, in each span of seconds after final."""
    last = max(applied[-1], verified[-1])
    counts = {"verified": _binned(verified, last), "applied": _binned(applied, last)}
    top = max(max(found) for found in counts.values())
    step = (_WIDTH - 2 * _MARGIN) / BINS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_MARGIN}" y="20">{bridges} bridges, one release: seconds from final to …</text>',
    ]
    for place, (name, found) in enumerate(counts.items()):
        colour = _COLOURS[name]
        parts.append(f'<text x="{450 + 120 * place}" y="20" fill="{colour}">■ {name}</text>')
        for index, count in enumerate(found):
            height = (_HEIGHT - 2 * _MARGIN) * count / top
            x, y = _MARGIN + step * (index + place / 2), _HEIGHT - _MARGIN - height
            size = f'width="{step / 2 - 0.5:.1f}" height="{height:.1f}"'
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')
    base = _HEIGHT - _MARGIN
    parts.append(f'<path d="M{_MARGIN} {base}H{_WIDTH - _MARGIN}" stroke="black"/>')
    for tenth in range(0, 11, 2):
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * tenth / 10
        parts.append(f'<text x="{x:.0f}" y="{base + 18}" text-anchor="middle">{last * tenth / 10:.1f}</text>')
    parts.append(f'<text x="{_MARGIN - 5}" y="{_MARGIN + 5}" text-anchor="end">{top}</text>')
    return "\n".join([*parts, "</svg>", ""])


def text(verified: list[float], applied: list[float]) -> str:
    """Write the same with bars of characters, a line each tenth of the time."""
    last = max(applied[-1], verified[-1])
    lines = []
    for name, found in (("verified", verified), ("applied", applied)):
        binned = _binned(found, last)
        groups = [sum(binned[at : at + BINS // 10]) for at in range(0, BINS, BINS // 10)]
        top = max(groups)
        for index, count in enumerate(groups):
            bar = "#" * round(_TEXT_WIDTH * count / top)
            lines.append(f"{name:9} to {last * (index + 1) / 10:5.1f} s {count:4} {bar}")
    return "\n".join(lines)


def _binned(found: list[float], last: float) -> list[int]:
    counts = [0] * BINS
    for seconds in found:
        counts[max(0, min(BINS - 1, int(seconds / last * BINS)))] += 1
    return counts
