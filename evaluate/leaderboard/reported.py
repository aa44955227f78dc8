"""Numbers printed in papers, as data: one file per source under <results>/reported/.

They stand in a column of their own and are never ranked: every paper has its own training recipe. A number is here
only if its text was read where `source` says; nothing is quoted from memory, and there is no status for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from condense import files
from condense.errors import DamagedFile
from condense.evaluate.leaderboard.board import Table
from condense.evaluate.leaderboard.rows import Row

STATUSES = {
    "own": "the source's own method",
    "reprinted": "another paper's number as the source prints it",
    "reproduced": "another paper's method, run by the source",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Part):
    """Where the numbers of one file stand in print."""

    short: str = Field(min_length=2)  # as in the table: "PAD"
    paper: str = Field(min_length=10)  # authors, title
    where: str = Field(min_length=3)  # "Table 1"
    url: str = Field(pattern=r"^https://")
    read_as: str = Field(min_length=3)  # what was read: "full text", "web page"
    accuracy: str = Field(min_length=10)  # what the printed number and its spread are
    epoch: str = ""  # whose accuracy its own runs print, where it is not the last: "best of every tenth epoch"


class Printed(_Part):
    """One row of a printed table: a method on one data set and network, by budget."""

    method: str = Field(min_length=1)
    title: str
    config: dict[str, Any] = {}  # fields that decide whether a row is of this setting; one it lacks counts as False
    dataset: str
    network: str
    labels: Literal["hard", "soft"]
    protocols: tuple[str, ...]  # beside whose tables it may stand; empty: only in the list of printed numbers
    status: Literal["own", "reprinted", "reproduced"]
    differs: str = ""  # how its training recipe differs from those protocols
    percent: dict[str, tuple[float, float | None]] = Field(min_length=1)  # budget -> accuracy, printed spread

    @model_validator(mode="after")
    def _in_range(self) -> Printed:
        for budget, (accuracy, spread) in self.percent.items():
            if not 0.0 < accuracy <= 100.0 or (spread is not None and not 0.0 <= spread < 50.0):
                raise ValueError(f"{self.method} {budget}: accuracies are in percent, found {accuracy} ± {spread}")
        return self


class Reported(_Part):
    """One file: a source and what it prints."""

    schema_version: Literal[1] = Field(alias="schema")
    source: Source
    rows: tuple[Printed, ...] = Field(min_length=1)


def read(results: str | Path) -> list[Reported]:
    """Every file of <results>/reported, ordered by name; empty when there is none.

    Raises:
        DamagedFile: naming the file and its first field at fault.
    """
    found = []
    for path in sorted((Path(results) / "reported").glob("*.json")):
        try:
            found.append(Reported.model_validate(files.read_json(path)))
        except ValidationError as error:
            first = error.errors()[0]
            raise DamagedFile(path, f"{'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
    return found


def beside(sources: list[Reported], table: Table, row: Row) -> list[tuple[Source, Printed]]:
    """The printed numbers that may stand beside a row of a table, by network.

    A row stands for its method as printed only with the labels that the method gave, with all of its steps, and with no
    more changes than the plainest row of its preset here; which of these changes it has is for a note.
    """
    setting = row.described
    told_apart = row.records[0].set.changed is not None and setting.apart
    if setting.labels or setting.stopped or told_apart:
        return []
    config = row.records[0].set.config
    budget = "full" if row.kind == "full" else table.key.budget
    found = [
        (file.source, printed)
        for file in sources
        for printed in file.rows
        if printed.method == row.method
        and printed.dataset == table.key.dataset
        and budget in printed.percent
        and table.sample.protocol.name in printed.protocols
        and all(config.get(name, False) == value for name, value in printed.config.items())
    ]
    order = list(dict.fromkeys(printed.network for _, printed in found))
    return sorted(found, key=lambda pair: order.index(pair[1].network))


def numbers(found: list[tuple[Source, Printed]], budget: str) -> str:
    """Printed numbers behind the network of each: "convnet-d3: 48.9 ± 0.6; 47.6"; * for another than the last epoch."""
    by_network: dict[str, dict[str, None]] = {}
    for source, printed in found:
        mark = "*" if other_epoch(source, printed) else ""
        by_network.setdefault(printed.network, {})[f"{number(printed, budget)}{mark}"] = None
    return "; ".join(f"{network}: {'; '.join(texts)}" for network, texts in by_network.items())


def other_epoch(source: Source, printed: Printed) -> bool:
    """Whether a number is known to be of another epoch than the last; what is reprinted was run by others."""
    return bool(source.epoch) and printed.status != "reprinted"


def number(printed: Printed, budget: str) -> str:
    """An accuracy as printed: "48.9 ± 0.6"."""
    accuracy, spread = printed.percent[budget]
    return f"{accuracy:g}" if spread is None else f"{accuracy:.1f} ± {spread:.1f}"
