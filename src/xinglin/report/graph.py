"""The stage graph as inline SVG: one column per stage in recipe order, one lane each for data, models and tests.

The same layout is drawn twice: along the page for wide screens and print, down the page for phones.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from xinglin.runtime.units import seconds_text

_LANE_OF_KIND = {"data": 0, "sample": 0, "evaluate": 2}


NAME_WIDTH = 7.8
"""About the width of a letter in a box, in units of the drawing."""


@dataclass(frozen=True)
class Node:
    name: str
    note: str
    status: str
    column: int
    lane: int


@dataclass(frozen=True)
class Direction:
    """How far apart and how large boxes are, along the recipe's order and across the lanes."""

    vertical: bool
    pitch: int
    lane_pitch: int
    half: int
    lane_half: int

    def point(self, along: float, across: float) -> str:
        x, y = (across, along) if self.vertical else (along, across)
        return f"{x:g} {y:g}"


WIDE = Direction(vertical=False, pitch=140, lane_pitch=84, half=61, lane_half=22)
TALL = Direction(vertical=True, pitch=66, lane_pitch=116, half=22, lane_half=55)


def svg(stages: list[dict[str, Any]], direction: Direction) -> Markup:
    """Boxes for the stages and for models or data from outside the run; a line from every input to its user."""
    nodes = _nodes(stages)
    lines = [
        _edge(nodes[source], nodes[stage["name"]], nodes, direction)
        for stage in stages
        for source in dict.fromkeys(stage["inputs"].values())
    ]
    boxes = [_box(node, direction) for node in nodes.values()]
    columns, lanes = max(n.column for n in nodes.values()) + 1, sorted({n.lane for n in nodes.values()})
    along, across = columns * direction.pitch, (lanes[-1] + 1) * direction.lane_pitch
    width, height = (across, along) if direction.vertical else (along, across)
    label = "Stages: " + ", ".join(f"{stage['name']} ({stage['status']})" for stage in stages)
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{escape(label)}">'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def _nodes(stages: list[dict[str, Any]]) -> dict[str, Node]:
    """Outside inputs first, then the stages, each in the next free column."""
    names = {stage["name"] for stage in stages}
    nodes: dict[str, Node] = {}
    for stage in stages:
        for field, source in stage["inputs"].items():
            if source not in names and source not in nodes:
                lane = 0 if field.split(".")[0] == "data" else 1
                nodes[source] = Node(source, "from outside", "outside", _free(nodes, lane, 0), lane)
    column = -1
    for stage in stages:
        lane = _LANE_OF_KIND.get(stage["kind"], 1)
        column = _free(nodes, lane, column + 1)
        note = seconds_text(stage["seconds"]) if stage["status"] == "finished" else stage["status"]
        status = "failed" if stage["error"] else stage["status"]
        kind = "" if stage["kind"] == stage["name"] else f"{stage['kind']} · "
        nodes[stage["name"]] = Node(
            stage["name"], kind + ("failed" if stage["error"] else note), status, column, lane
        )
    return nodes


def _free(nodes: dict[str, Node], lane: int, column: int) -> int:
    while any(node.column == column and node.lane == lane for node in nodes.values()):
        column += 1
    return column


def _center(node: Node, direction: Direction) -> tuple[float, float]:
    return (node.column + 0.5) * direction.pitch, (node.lane + 0.5) * direction.lane_pitch


def _edge(source: Node, target: Node, nodes: dict[str, Node], direction: Direction) -> str:
    """Within a lane a straight line, or a bow over boxes between; across lanes along one lane, then over."""
    (a, lane_a), (b, lane_b) = _center(source, direction), _center(target, direction)
    point, half, lane_half = direction.point, direction.half, direction.lane_half
    if source.lane == target.lane:
        between = any(
            n.lane == source.lane and source.column < n.column < target.column for n in nodes.values()
        )
        end = b - half
        if not between:
            return _path(f"M{point(a + half, lane_a)}L{point(end, lane_b)}")
        rim = lane_a - lane_half
        bow = rim - direction.lane_pitch * 0.24
        return _path(f"M{point(a, rim)}C{point(a + half, bow)} {point(b - half, bow)} {point(b, rim)}")
    side = 1 if target.lane > source.lane else -1
    rim = lane_b - side * lane_half
    # between the lanes of models and tests every test has its own line, so that two tests stay apart
    order = [n.column for n in nodes.values() if n.lane == target.lane].index(target.column)
    bus = rim - side * (6 + 5 * (order % 5)) if target.lane == 2 and source.lane == 1 else lane_a
    start = f"M{point(a, lane_a + side * lane_half)}L{point(a, bus - side * 5)}Q{point(a, bus)} {point(a + 5, bus)}"
    if bus == lane_a:
        start = f"M{point(a + half, lane_a)}"
    turn = f"L{point(b - 5, bus)}Q{point(b, bus)} {point(b, bus + side * 5)}L{point(b, rim)}"
    return _path(start + turn)


def _path(d: str) -> str:
    return f'<path class="edge" d="{d}"/>'


def _box(node: Node, direction: Direction) -> str:
    along, across = _center(node, direction)
    x, y = (across, along) if direction.vertical else (along, across)
    half_x, half_y = (
        (direction.lane_half, direction.half) if direction.vertical else (direction.half, direction.lane_half)
    )
    name, note = escape(_short(node.name, int(2 * half_x / NAME_WIDTH))), escape(_short(node.note, 19))
    title = escape(f"{node.name}: {node.note}")
    return (
        f'<g class="node lane-{node.lane} {node.status}"><title>{title}</title>'
        f'<rect x="{x - half_x:g}" y="{y - half_y:g}" width="{2 * half_x}" height="{2 * half_y}" rx="8"/>'
        f'<text class="name" x="{x:g}" y="{y - 2:g}" text-anchor="middle">{name}</text>'
        f'<text class="note" x="{x:g}" y="{y + 13:g}" text-anchor="middle">{note}</text></g>'
    )


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
