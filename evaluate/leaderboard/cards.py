"""Cards: one Markdown page per data set and per distilled set that has results, from records and published facts.

They complement the card inside a set's own folder (condense/distilled/card.py), which is written when the set is made
and knows nothing of its results: here, every protocol a set was judged under is listed, also when the set is gone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from condense import files
from condense.data.facts import hub_licence
from condense.evaluate import statistics
from condense.evaluate.leaderboard.grid import NONE, points
from condense.evaluate.leaderboard.markdown import GENERATED
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record
from condense.quantities import duration, size

_LIMITS = """## Limits

Numbers hold for the protocol named beside them: another augmentation, step size or pixel space can cost many points.
"""
_ONE_OF_MANY = """\
They speak of this one set; a claim about its method needs several distillation seeds, which the leaderboard pools."""
_ONLY_ONE = "They speak of the method too, which draws nothing: every distillation seed gives this set."


def texts(records: Iterable[Record]) -> dict[str, str]:
    """Every card by its path below the cards' folder, README.md among them; empty without records."""
    by_set: dict[str, list[Record]] = defaultdict(list)
    by_dataset: dict[str, dict[str, list[Record]]] = defaultdict(dict)
    for record in records:
        path = _set_path(record)
        by_set[path].append(record)
        by_dataset[record.dataset.name][path] = by_set[path]
    cards = {path: _set_card(group) for path, group in by_set.items()}
    for dataset, sets in by_dataset.items():
        cards[f"{files.safe_name(dataset)}.md"] = _dataset_card(dataset, sets)
    if cards:
        cards["README.md"] = _index(by_dataset)
    return cards


def _set_path(record: Record) -> str:
    method = files.safe_name(record.set.method.rpartition("/")[2].removesuffix(".py"))
    name = f"{method}-s{record.set.seed}-{record.set.id[:8]}.md"
    return f"{files.safe_name(record.dataset.name)}/{record.budget_name}/{name}"


def _dataset_card(dataset: str, sets: Mapping[str, Sequence[Record]]) -> str:
    from condense.data.facts import FACTS
    from condense.data.names import parse

    first = next(iter(sets.values()))[0]
    facts = FACTS.get(parse(dataset).base)
    rows = [("name", f"`{dataset}`"), ("fingerprint", f"`{first.dataset.fingerprint}`")]
    licence = "unknown"
    if facts is not None:
        licence = facts.licence
        if facts.shape is not None:
            rows.append(("images as published", " × ".join(map(str, facts.shape)) + " (channels, height, width)"))
        rows += [("classes as published", str(facts.n_classes)), ("licence", licence), ("homepage", facts.homepage)]
        rows.append(("mirror images", "keep their class" if facts.flips else "change the class: never flipped"))
        if facts.mean is not None and facts.std is not None:
            rows += [("mean used", _numbers(facts.mean)), ("standard deviation used", _numbers(facts.std))]
    else:
        rows.append(("licence", "not known to this project; the data came from a folder or a file of the user"))
    front = {"license": hub_licence(licence), "pretty_name": dataset, "task_categories": ["image-classification"]}
    lines = [*_head(front), f"# Data set {dataset}", "", *_table(("fact", "value"), rows), ""]
    lines += ["The fingerprint covers pixels, labels and class names as loaded, in order.", "", "## Judged sets", ""]
    judged = [
        (
            f"[{group[0].set.title}]({path})",
            group[0].budget_name,
            str(group[0].set.seed),
            size(group[0].set.bytes.total),
            ", ".join(_protocol(record) for record in _ordered(group)),
        )
        for path, group in sorted(sets.items(), key=lambda item: _place(item[1][0]))
    ]
    lines += _table(("set", "budget", "seed", "bytes", "judged under"), judged)
    return "\n".join(lines) + "\n"


def _set_card(group: Sequence[Record]) -> str:
    records = _ordered(group)
    made = records[0].set
    title = (
        f"{made.title} on {records[0].dataset.name}, {records[0].budget_name.replace('-', ' ', 1)}, seed {made.seed}"
    )
    front = {
        "pretty_name": title,
        "task_categories": ["image-classification"],
        "annotations_creators": ["machine-generated"] if made.kind == "synthetic" else ["no-annotation"],
        "source_datasets": [records[0].dataset.name],
        "tags": ["dataset-distillation", made.method],
    }
    lines = [*_head(front), f"# {title}", "", _introduction(records[0]), "", "## Results", ""]
    rows = [
        (_protocol(record), name, *_result(cell))
        for record in records
        for name, cell in sorted(record.cells.items(), key=lambda item: (not item[0].startswith("convnet"), item[0]))
    ]
    measured = "accuracy %, 95 % interval over evaluation seeds"
    lines += _table(("protocol", "network", measured, "single seeds %", "remark"), rows)
    parts = [(part, f"{getattr(made.bytes, part):,}") for part in ("images", "labels", "extras", "preprocessing")]
    lines += ["", "## Bytes", "", *_table(("part", "bytes"), [*parts, ("**total**", f"{made.bytes.total:,}")])]
    lines += ["", "## Creation", "", *_table(("field", "value"), _creation(records[0]))]
    lines += ["", "Judged again with:", "", "```", *dict.fromkeys(record.command for record in records), "```", ""]
    return "\n".join([*lines, _LIMITS + (_ONE_OF_MANY if made.seeded else _ONLY_ONE)]) + "\n"


def _introduction(record: Record) -> str:
    made = record.set
    what = {
        "synthetic": f"{made.count:,} synthetic images",
        "selection": f"{made.count:,} real images, kept as positions in the training split",
        "full": f"The whole training split, {made.count:,} images",
    }[made.kind]
    home = f"{files.safe_name(record.dataset.name)}.md"
    return (
        f"{what}, made from the {made.trained_on} split of [{record.dataset.name}](../../{home}). "
        f"Labels: {made.labels}. Pixel space: {made.preprocessing}. Set `{made.id[:16]}`."
    )


def _result(cell: Cell) -> tuple[str, str, str]:
    runs = ", ".join(f"{100 * value:.1f}" for value in cell.accuracy) or NONE
    if cell.status != "ok":
        return cell.status, runs, cell.reason or ""
    found = statistics.summary(cell.accuracy)
    return points(found.mean, found.half, found.n), runs, ""


def _creation(record: Record) -> list[tuple[str, str]]:
    made = record.set
    rows: list[tuple[str, object]] = [("method", made.method), ("preset", made.preset), ("seed", made.seed)]
    if made.changed:
        rows.append(("changed from the preset", list(made.changed)))
    rows += [(f"config.{name}", value) for name, value in sorted(made.config.items())]
    rows += [(f"engine.{name}", value) for name, value in sorted(made.engine.items())]
    rows += [(f"end of {phase}", value) for phase, value in sorted(made.stops.items())]
    rows.append(("code", {"version": record.code.version, "commit": record.code.commit}))
    found = [(name, f"`{json.dumps(value, sort_keys=True)}`") for name, value in rows]
    if (spent := record.volatile.distill) is not None:
        shared = f", and {duration(spent.shared_seconds)} for what other sets share" if spent.shared_seconds else ""
        found.append(("distillation", duration(spent.seconds) + shared))
        if spent.peak_bytes is not None:
            found.append(("peak memory", size(spent.peak_bytes)))
    return found


def _index(by_dataset: Mapping[str, Mapping[str, Sequence[Record]]]) -> str:
    lines = [
        GENERATED,
        "",
        "# Data cards",
        "",
        "One card per data set, with links to the card of every judged set.",
        "",
    ]
    rows = [
        (f"[{dataset}]({files.safe_name(dataset)}.md)", str(len(sets))) for dataset, sets in sorted(by_dataset.items())
    ]
    return "\n".join([*lines, *_table(("data set", "judged sets"), rows)]) + "\n"


def _head(front: Mapping[str, object]) -> list[str]:
    """Front matter; JSON values are valid YAML."""
    return [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()),
        "---",
        GENERATED,
        "",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _ordered(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.protocol.name, record.protocol.version))


def _place(record: Record) -> tuple[str, float, str, int, str]:
    ((kind, value),) = record.budget.items()
    return (kind, value, record.set.method, record.set.seed, record.set.id)


def _protocol(record: Record) -> str:
    tier = record.protocol.tier.partition(":")[0]
    name = f"{record.protocol.name}-{record.protocol.version}"
    return name if tier == "full" else f"{name} (tier {tier})"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
