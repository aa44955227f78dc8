"""Where the names of a plot's lines stand so that none covers another name or a mark. Lengths are inches."""

from __future__ import annotations

from collections.abc import Sequence

LINE, CHARACTER = 0.155, 0.083  # height of a name, width of a letter
_COLUMN = 0.35  # lines that end this near to each other are named in one column


def label_places(marks: Sequence[Sequence[tuple[float, float]]], names: Sequence[str]) -> list[tuple[float, float]]:
    """Left end and middle of each name, in inches, to the right of the last of its line's marks.

    Names whose lines end near each other keep the order of their lines. Then each name moves to the nearest height
    where it covers neither a name placed before it nor the mark of any line.
    """
    ends = [line[-1] for line in marks]
    places = [(0.0, 0.0)] * len(ends)
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    columns: list[list[int]] = []
    for index in order:
        if columns and ends[index][0] - ends[columns[-1][0]][0] < _COLUMN:
            columns[-1].append(index)
        else:
            columns.append([index])
    taken = [(x - 0.06, x + 0.06, y, 0.055) for line in marks for x, y in line]
    for column in columns:
        heights = spread([ends[index][1] for index in column], LINE)
        for index, wanted in sorted(zip(column, heights, strict=True), key=lambda pair: -pair[1]):
            left = ends[index][0] + 0.1
            box = (left, left + CHARACTER * len(names[index]))
            shifts = sorted((step * 0.02 for step in range(-200, 201)), key=lambda shift: (abs(shift), shift))
            free = (wanted + shift for shift in shifts if not _covered(box, wanted + shift, taken))
            places[index] = (left, next(free, wanted))
            taken.append((*box, places[index][1], LINE / 2))
    return places


def spread(wanted: Sequence[float], step: float) -> list[float]:
    """Positions as near to the wanted ones as keeping `step` between neighbours allows, in the same order.

    Neighbours that are too close form a block centred on the mean of their wishes, and blocks that touch merge.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    blocks: list[list[int]] = []

    def start(block: Sequence[int]) -> float:
        return sum(wanted[index] for index in block) / len(block) - step * (len(block) - 1) / 2

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


def _covered(box: tuple[float, float], height: float, taken: Sequence[tuple[float, float, float, float]]) -> bool:
    return any(
        box[0] < right and left < box[1] and abs(height - middle) < LINE / 2 + half - 1e-9
        for left, right, middle, half in taken
    )
