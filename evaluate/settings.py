"""Which sets of a table are one row, and what tells the rows of one method apart, as data and in words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from condense.evaluate.parts import SetRef
from condense.identity import digest

_ROOM = 75  # letters of the changed fields that a cell of a table has room for
_RECIPE = "label_recipe"  # where the configuration of a relabelled set holds the recipe of its labels


@dataclass(frozen=True)
class Setting:
    """A configuration in words."""

    preset: str
    labels: str  # whose labels the images were given afterwards; empty for those that the method gave them
    changes: tuple[str, ...]  # "field=value" of all that is not the preset's
    apart: tuple[str, ...]  # those of them that the plainest row of this method and preset does not have
    stopped: str  # which phases ended early, and why; empty where none did
    mark: str = ""  # a piece of hash, where words do not tell two rows apart

    @property
    def altered(self) -> bool:
        """Whether the set is not what the preset gives."""
        return bool(self.labels or self.changes or self.stopped)

    @property
    def full(self) -> str:
        """Everything, however long."""
        return _joined(self.preset, self.labels, *self.changes, self.stopped, self.mark)

    @property
    def short(self) -> str:
        """For a cell: all changes where there is room for them, otherwise the telling ones and how many more."""
        if self.all_shown:
            return self.full
        more = f"{len(self.unsaid)}{' more' if self.apart else ''} changed"
        return _joined(self.preset, self.labels, *self.apart, more, self.stopped, self.mark)

    @property
    def all_shown(self) -> bool:
        """Whether the short form names every change."""
        return len(", ".join(self.changes)) <= _ROOM or self.changes == self.apart

    @property
    def unsaid(self) -> tuple[str, ...]:
        """The changes that the short form only counts."""
        return () if self.all_shown else tuple(change for change in self.changes if change not in self.apart)

    @property
    def brief(self) -> str:
        """What tells a row from the others of its method."""
        count = "" if self.apart or self.labels or not self.changes else f"{len(self.changes)} changed"
        return _joined(self.preset, self.labels, *self.apart, count, self.stopped, self.mark)


def identity(judged: SetRef) -> list[object]:
    """What the sets of one row have in common."""
    # A switch that is off says no more than its absence: records older than the switch stay in their row.
    config = {name: value for name, value in judged.config.items() if value is not False}
    found: list[object] = [judged.kind, config, judged.labels, judged.preprocessing, judged.trained_on]
    return [*found, _reasons(judged)] if judged.stops else found


@dataclass(frozen=True)
class Pool:
    """Sets that are one row."""

    members: tuple[int, ...]  # positions among the sets of the table, by distillation seed
    setting: Setting
    name: str  # the method's title, with what tells it from other rows of the method


def pools(sets: Sequence[SetRef]) -> list[Pool]:
    """The rows that the sets of one table make, by method."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, judged in enumerate(sets):
        found[judged.method, digest(identity(judged))].append(index)
    groups = [sorted(group, key=lambda index: (sets[index].seed, sets[index].id)) for _, group in sorted(found.items())]
    methods = Counter(sets[group[0]].method for group in groups)
    made = []
    for group, setting in zip(groups, _settings([[sets[index] for index in group] for group in groups]), strict=True):
        first = sets[group[0]]
        told = setting.stopped if methods[first.method] == 1 else setting.brief
        made.append(Pool(tuple(group), setting, f"{first.title} ({told})" if told else first.title))
    return made


def _settings(groups: Sequence[Sequence[SetRef]]) -> list[Setting]:
    """The setting of each row of a table, given the sets of each."""
    labels = _label_names([group[0] for group in groups])
    found = []
    for group in groups:
        judged = group[0]
        family = [other[0] for other in groups if _family(other[0]) == _family(judged)]
        recipe = judged.config.get(_RECIPE)
        changes, apart = _changes(judged, family)
        whose = labels[_labelled_by(judged)] if recipe else ""
        found.append(Setting(_preset(judged), whose, changes, apart, _stopped(group)))
    methods = [group[0].method for group in groups]
    for form in ("short", "brief"):
        twice = Counter((method, getattr(setting, form)) for method, setting in zip(methods, found, strict=True))
        for index, (method, setting) in enumerate(zip(methods, found, strict=True)):
            if twice[method, getattr(setting, form)] > 1:
                found[index] = replace(setting, mark=digest(identity(groups[index][0]))[:6])
    return found


def _preset(judged: SetRef) -> str:
    """The preset of the images; that of a relabelled set also says where the labels were taken from."""
    name = judged.preset or "default"
    return name.partition(", labels ")[0] if _RECIPE in judged.config else name


def _family(judged: SetRef) -> tuple[str, str]:
    return judged.method, _preset(judged)


def _changes(judged: SetRef, family: Sequence[SetRef]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All changes of a set, and those that tell it from the plainest of its family; older records know the latter."""
    if judged.changed is None:
        names = {name for other in family for name in other.config} - {_RECIPE}
        told = [name for name in names if len({_words(other.config.get(name, False)) for other in family}) > 1]
        apart = tuple(f"{name}={_words(judged.config.get(name, False))}" for name in sorted(told))
        return apart, apart
    plainest = min(family, key=lambda other: len(other.changed or ())).config
    fields = [(name, judged.config.get(name)) for name in judged.changed]
    apart = tuple(f"{name}={_words(value)}" for name, value in fields if value != plainest.get(name))
    return tuple(f"{name}={_words(value)}" for name, value in fields), apart


def _labelled_by(judged: SetRef) -> str:
    """What equal labels share: the name of their recipe with its teachers."""
    return judged.label_recipe or digest(judged.config.get(_RECIPE))


def _label_names(sets: Sequence[SetRef]) -> dict[str, str]:
    """Labels that sets were given afterwards: by the method of the table that gives them, or by their recipe."""
    owners: dict[str, dict[str, None]] = {}
    recipes: dict[str, Mapping[str, Any]] = {}
    for judged in sets:
        if recipe := judged.config.get(_RECIPE):
            recipes[_labelled_by(judged)] = recipe
        elif judged.label_recipe is not None:
            owners.setdefault(judged.label_recipe, {})[judged.title] = None
    known = {name: recipe for name, recipe in recipes.items() if name in owners}
    names = {}
    for name, recipe in recipes.items():
        nearest = min(known, key=lambda other: len(_difference(recipe, known[other])), default=None)
        if nearest is None or known[nearest].get("kind") != recipe.get("kind"):
            rest = [f"{field}={_words(value)}" for field, value in sorted(recipe.items()) if field != "kind"]
            names[name] = _joined(f"labels {recipe.get('kind', '')}".strip(), *rest)
        else:
            names[name] = " ".join(
                [f"labels of {' or '.join(sorted(owners[nearest]))}", *_difference(recipe, known[nearest])]
            )
    return names


def _difference(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What a recipe has, and what it lacks, beside another."""
    more = [f"with {name}={_words(value)}" for name, value in sorted(recipe.items()) if other.get(name) != value]
    return more + [f"without {name}={_words(value)}" for name, value in sorted(other.items()) if name not in recipe]


def _reasons(judged: SetRef) -> dict[str, str]:
    """Why each phase ended early, without the numbers in which sets of one setting differ."""
    return {phase: stop["reason"].rpartition(" jobs: ")[2].partition(",")[0] for phase, stop in judged.stops.items()}


def _stopped(sets: Sequence[SetRef]) -> str:
    """Which phases ended early, after how many steps over the sets of a row, and why."""
    parts = []
    for phase, reason in sorted(_reasons(sets[0]).items()):
        steps = sorted({judged.stops[phase]["step"] for judged in sets})
        after = " to ".join(str(step) for step in dict.fromkeys((steps[0], steps[-1])))
        parts.append(f"{phase} stopped at step {after}: {reason}")
    return ", ".join(parts)


def _words(value: Any) -> str:
    """A value of a configuration, short."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str):
        return re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.4g}", value)
    if isinstance(value, list | tuple):
        return "/".join(map(_words, value))
    return "none" if value is None else str(value)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
