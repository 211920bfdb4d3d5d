"""The pictures of "How a run works": `python docs/_pictures.py` draws house.svg and walk.svg beside this file.

Fills and letters are dark on light, arrows grey, so that a picture can be read on light and dark pages alike.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

DOCS = Path(__file__).resolve().parent
WIDTH = 420  # units of a picture, and pixels where there is room
LETTER = 6.5  # the width of a letter in a name of a file

# Every room with what is in it, as in tests/test_package.py: a file imports from its own room and from those below it.
ROOMS = {
    "_cli": "the verbs of the command line",
    "_show": "plots, the paper's figures, report pages",
    "_sweep": "a function over a grid, on any executor",
    "_theory": "tangent kernel, counting, discovery, drift",
    "_arch": "architectures of blocks, and their wires",
    "_check": "recordings of other programs, judged",
    "_tensors": "laws of any model, found and watched",
    "_run": "plan, backends, driver, trajectory",
    "_symmetry": "families, their laws, records, formulas",
    "_motion": "dynamics, algorithms, reference flows",
    "_problem": "networks, data, potentials",
    "_kernels": "compiled steps, CPU and GPU; the oracle",
    "_base": "argument checks, files, versions, Ctrl-C",
}

# The steps of a run: what is there, and the files of noetherlite/_run that make it.
BEFORE = [
    ("U, algorithm, x0, laws", "integrate.py, ensemble.py"),
    ("Plan: coordinates, table of laws, sizes", "start.py, plan.py, reduction.py, end_to_end.py"),
    ("Runs: states and records of E runs", "runs.py"),
]
LOOP = [
    ("Backend: advances", "backends.py, device.py"),
    ("Supervisor: looks", "supervisor.py, checkpoint.py"),
]
AFTER = ("Trajectory: t, loss, laws, x, v", "outcome.py, trajectory.py")

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1a202c; }
.name { font-family: ui-monospace, monospace; }
.small { font-size: 11px; fill: #4a5568; }
rect { fill: #edf2f7; stroke: #718096; }
.here { fill: #fdebc8; }
.roof { fill: #d9e6f7; stroke: #718096; }
path.arrow { stroke: #808080; stroke-width: 2; fill: none; marker-end: url(#tip); }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0,0 L8,4 L0,8 Z" fill="#808080"/></marker></defs>"""


def house() -> str:
    """Return the rooms, each standing on those that it imports from."""
    floor, eaves = 30, 74
    parts = [
        f'<path class="roof" d="M2,{eaves} L{WIDTH / 2:g},2 L{WIDTH - 2},{eaves} Z"/>',
        _text(WIDTH / 2, 46, "import noetherlite as nl", "name", middle=True),
        _text(WIDTH / 2, 64, "faces: names for users, re-exported", "small", middle=True),
    ]
    for i, (name, what) in enumerate(ROOMS.items()):
        y = eaves + i * floor
        here = ' class="here"' if name == "_run" else ""
        parts.append(f'<rect x="2" y="{y}" width="{WIDTH - 4}" height="{floor}"{here}/>')
        parts += [_text(12, y + 20, name, "name"), _text(104, y + 20, what)]
    return _svg(eaves + len(ROOMS) * floor + 2, "The rooms of the package, one above the other", parts)


def walk() -> str:
    """Return the way of the data through a run, from top to bottom."""
    height, gap, middle = 46, 24, WIDTH / 2
    parts, y = [], 2
    for what, files in BEFORE:
        parts += [
            *_box(2, y, WIDTH - 4, height, what, files),
            _arrow(f"M{middle:g},{y + height} V{y + height + gap - 2}"),
        ]
        y += height + gap
    loop = height + 62
    parts.append(f'<rect class="roof" x="2" y="{y}" width="{WIDTH - 4}" height="{loop}" rx="5"/>')
    parts.append(_text(middle, y + 20, "drive, until the last step", middle=True))
    inner, wides = y + 34, [20 + LETTER * len(files) for _, files in LOOP]
    left, right = 12 + wides[0], WIDTH - 12 - wides[1]
    parts += _box(12, inner, wides[0], height, *LOOP[0], here=True)
    parts += _box(right, inner, wides[1], height, *LOOP[1])
    parts += [_arrow(f"M{left:g},{inner + 14} H{right - 2:g}"), _arrow(f"M{right:g},{inner + 32} H{left + 2:g}")]
    parts.append(_text(middle, y + loop - 9, "drive.py", "small name", middle=True))
    y += loop + gap
    parts += [_arrow(f"M{middle:g},{y - gap} V{y - 2}"), *_box(2, y, WIDTH - 4, height, *AFTER)]
    return _svg(y + height + 2, "The way of the data through a run", parts)


def _box(x: float, y: float, wide: float, height: float, what: str, files: str, here: bool = False) -> list[str]:
    kind = ' class="here"' if here else ""
    rect = f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{height:g}" rx="5"{kind}/>'
    return [rect, _text(x + 10, y + 20, what), _text(x + 10, y + 37, files, "small name")]


def _arrow(path: str) -> str:
    return f'<path class="arrow" d="{path}"/>'


def _text(x: float, y: float, text: str, kind: str = "", middle: bool = False) -> str:
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}"{anchor}>{escape(text)}</text>'


def _svg(height: float, title: str, parts: list[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{title}</title>\n{STYLE}\n{body}\n</svg>\n'
    )


PICTURES = {"house.svg": house, "walk.svg": walk}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (DOCS / name).write_text(draw(), "utf-8")
