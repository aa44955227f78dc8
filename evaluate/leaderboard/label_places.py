"""Where the names of a plot's lines stand so that none covers another name or a mark. Lengths are inches."""

from __future__ import annotations

import math
from collections.abc import Sequence

Mark = tuple[float, float]  # across, up

LINE, CHARACTER = 0.155, 0.083  # height of a name, width of a letter
_COLUMN = 0.35  # a line that ends this near to the one before is named in the same column
_BESIDE = 0.1  # from the last mark to the name
_STEP = 0.02  # of the search for a free height


def label_places(
    marks: Sequence[Sequence[Mark]], names: Sequence[str], low: float = -math.inf, high: float = math.inf
) -> list[Mark]:
    """Left end and middle of each name, to the right of the last of its line's marks.

    Lines that end near each other are named in one column, in the order of their heights. Then each name moves to the
    nearest height between `low` and `high` where it covers neither a name placed before it nor the mark of any line;
    where there is none, it stays.
    """
    ends = [line[-1] for line in marks]
    places = [(0.0, 0.0)] * len(ends)
    taken = [(x - 0.06, x + 0.06, y, 0.055) for line in marks for x, y in line]
    for column in _columns(ends):
        left = max(ends[index][0] for index in column) + _BESIDE
        heights = spread([ends[index][1] for index in column], LINE, low, high)
        for index, wanted in sorted(zip(column, heights, strict=True), key=lambda pair: -pair[1]):
            right = left + CHARACTER * len(names[index])
            height = next((h for h in _nearest(wanted, low, high) if not _covered((left, right), h, taken)), wanted)
            places[index] = (left, height)
            taken.append((left, right, height, LINE / 2))
    return places


def spread(wanted: Sequence[float], step: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Positions as near to the wanted ones as keeping `step` between neighbours and the range allow, in their order.

    Neighbours that are too close form a block centred on the mean of their wishes, and blocks that touch merge.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[list[int]] = []

    def start(block: Sequence[int]) -> float:
        length = step * (len(block) - 1)
        return max(low, min(sum(wanted[index] for index in block) / len(block) - length / 2, high - length))

    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and start(blocks[-1]) < start(blocks[-2]) + step * len(blocks[-2]):
            last = blocks.pop()
            blocks[-1] += last
    placed = [0.0] * len(wanted)
    for block in blocks:
        for position, index in enumerate(block):
            placed[index] = start(block) + position * step
    return placed


def _columns(ends: Sequence[Mark]) -> list[list[int]]:
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    columns: list[list[int]] = []
    for index in order:
        if columns and ends[index][0] - ends[columns[-1][-1]][0] < _COLUMN:
            columns[-1].append(index)
        else:
            columns.append([index])
    return columns


def _nearest(wanted: float, low: float, high: float) -> Sequence[float]:
    """Heights to try, the wanted one first."""
    shifts = sorted((_STEP * number for number in range(-400, 401)), key=lambda shift: (abs(shift), shift))
    return [wanted + shift for shift in shifts if low <= wanted + shift <= high]


def _covered(box: tuple[float, float], height: float, taken: Sequence[tuple[float, float, float, float]]) -> bool:
    return any(
        box[0] < right and left < box[1] and abs(height - middle) < LINE / 2 + half - 1e-9
        for left, right, middle, half in taken
    )
