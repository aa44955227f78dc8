"""Printed numbers: every one has a source, none comes from memory, and they stand beside the right rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condense import methods
from condense.data.facts import FACTS
from condense.errors import DamagedFile
from condense.evaluate import protocols
from condense.evaluate.leaderboard import board, grid, markdown, reported, sections, terminal
from condense.evaluate.leaderboard.reported import Printed, Source
from condense.evaluate.records import Record

COMMITTED = Path(__file__).resolve().parents[2] / "results"
ENTRIES = [(file.source, row) for file in reported.read(COMMITTED) for row in file.rows]


def test_the_committed_numbers_are_there() -> None:
    decoupled = {"SRe2L", "CDA", "CV-DD", "INFER"}
    matching = {"PAD", "AutoPalette", "CIM", "DC-BENCH", "FYI", "FRePo users"}
    assert {source.short for source, _ in ENTRIES} == matching | decoupled
    known = {(s.short, row.method, row.dataset): row.percent for s, row in ENTRIES}
    networks = {(s.short, row.method, row.dataset, row.network): row.percent for s, row in ENTRIES}
    assert networks["SRe2L", "sre2l", "imagenet", "torchvision:resnet18"]["ipc-50"] == (46.8, 0.2)
    assert networks["CDA", "cda", "tiny-imagenet", "resnet101:norm=batch"]["ipc-100"] == (55.0, None)
    assert networks["CV-DD", "cvdd", "cifar10", "resnet18:norm=batch"]["ipc-50"] == (70.1, None)
    assert networks["CV-DD", "sre2l", "cifar100", "resnet50:norm=batch"]["ipc-10"] == (46.1, None)
    assert networks["INFER", "infer", "cifar100", "convnet-d3"]["ipc-50"] == (50.7, 0.3)  # dynamic labels
    assert known["PAD", "dm", "cifar10"]["ipc-10"] == (48.9, 0.6)
    assert known["CIM", "datadam", "cifar10"]["ipc-10"] == (54.2, 0.8)
    assert known["DC-BENCH", "kip", "cifar10"]["ipc-10"] == (47.23, None)
    assert known["FYI", "ftd", "cifar100"]["ipc-1"] == (28.7, 0.7)  # the last of its rows, with mirror images


@pytest.mark.parametrize(
    ("source", "row"), ENTRIES, ids=lambda part: getattr(part, "short", getattr(part, "title", ""))
)
def test_every_number_has_a_source_that_can_be_looked_up(source: Source, row: Printed) -> None:
    assert source.url.startswith("https://")
    assert "Table" in source.where or "page" in source.where
    everything = (source.model_dump_json() + row.model_dump_json()).lower()
    assert not any(word in everything for word in ("memory", "unverified", "[m]", "[mem]"))


@pytest.mark.parametrize("row", [row for _, row in ENTRIES], ids=lambda row: f"{row.method}-{row.dataset}")
def test_every_number_is_about_a_known_data_set_and_fits_its_images(row: Printed) -> None:
    facts = FACTS[row.dataset]
    if row.network.startswith("convnet"):
        assert facts.shape is not None
        assert row.network == {32: "convnet-d3", 64: "convnet-d4"}[facts.shape[1]]
    for name in row.protocols:
        protocol = protocols.load(name)
        asked = protocol.needs.labels
        assert (row.labels == "hard") == (asked == "hard"), "numbers from soft labels may not stand beside hard ones"
        if not row.network.startswith("convnet"):
            assert row.network in {entry.network for entry in protocol.panel}


def test_configuration_fields_that_decide_exist_in_the_methods_that_are_built_in() -> None:
    for _, row in ENTRIES:
        if row.method in methods.names():
            fields = methods.get(row.method).config_type.__dataclass_fields__
            assert set(row.config) <= set(fields)


def test_sources_that_print_the_same_method_agree_or_are_both_shown(record: Callable[..., Record]) -> None:
    (table,) = board.tables([record("random", cells={"convnet-d3": [0.26, 0.27]})])
    shown = grid.accuracy(table, reported.read(COMMITTED))
    titles = [column.title for column in shown.columns]
    number, source = (shown.rows[0][titles.index(name)] for name in ("reported", "source of reported"))
    assert number.text == "convnet-d3: 26.0 ± 1.2; 31; 31.0 ± 0.5"
    assert source.text == "AutoPalette (reprinted); DC-BENCH (reproduced); PAD (reprinted)"
    assert any("https://arxiv.org/abs/2408.03360" in shown.notes[note - 1] for note in source.notes)


@pytest.mark.parametrize(
    ("augment", "expected"), [(True, "convnet-d3: 52.96; 52.1 ± 0.5"), (False, "convnet-d3: 44.9 ± 0.5; 50.99")]
)
def test_one_method_in_two_settings_gets_the_number_of_its_setting(
    record: Callable[..., Record], augment: bool, expected: str
) -> None:
    (table,) = board.tables([record("dc", kind="synthetic", config={"augment": augment})])
    shown = grid.accuracy(table, reported.read(COMMITTED))
    assert shown.rows[0][-2].text == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "convnet-d3: 48.9 ± 0.6; 47.64"),
        ({"mirror": False, "flip_first": False}, "convnet-d3: 48.9 ± 0.6; 47.64"),
        ({"mirror": True, "flip_first": True}, "convnet-d3: 53.1 ± 0.6"),
        ({"mirror": True, "flip_first": False}, None),
    ],
)
def test_an_ingredient_that_a_configuration_does_not_name_counts_as_off(
    record: Callable[..., Record], config: dict[str, bool], expected: str | None
) -> None:
    (table,) = board.tables([record("dm", kind="synthetic", config=config)])
    shown = grid.accuracy(table, reported.read(COMMITTED))
    titles = [column.title for column in shown.columns]
    assert expected == (shown.rows[0][titles.index("reported")].text if "reported" in titles else None)


def test_no_number_stands_beside_another_protocol_network_size_or_budget(record: Callable[..., Record]) -> None:
    others = [{"protocol": "quick"}, {"dataset": "cifar10[0-4]"}, {"budget": {"ipc": 11}}, {"budget": {"total": 100}}]
    for other in others:
        (table,) = board.tables([record("dm", **other)])
        assert reported.beside(reported.read(COMMITTED), table, table.rows[0]) == []


CVDD = {"initial": "medium", "label_statistics": "batch", "label_voting": "prior", "members": 2, "voting": "prior"}
NARROW = {"resnet10:norm=batch,width=16": [0.4, 0.41]}


def own(record: Callable[..., Record], **fields: Any) -> Record:
    """A set of CV-DD judged as its authors do."""
    fields = {"kind": "synthetic", "config": CVDD, "changed": [], "preset": "table-1-cifar", **fields}
    return record("cvdd", protocol="cvdd-cifar10", track="own", **fields)


def printed_beside(records: list[Record]) -> dict[str, tuple[str, list[str]]]:
    """What is printed for each row, by its setting, with the notes of the number and its source."""
    (table,) = board.tables(records)
    shown = grid.accuracy(table, reported.read(COMMITTED))
    titles = [column.title for column in shown.columns]
    if "reported" not in titles:
        return {row[2].text: (grid.NONE, []) for row in shown.rows}
    place = titles.index("reported")
    return {
        row[2].text: (row[place].text, [shown.notes[n - 1] for cell in row[place : place + 2] for n in cell.notes])
        for row in shown.rows
    }


def test_a_printed_number_names_its_network_and_says_when_it_is_of_the_best_epoch(
    record: Callable[..., Record],
) -> None:
    text, notes = printed_beside([own(record)])["table-1-cifar"]
    assert text == "resnet18:norm=batch: 44.6*; resnet50:norm=batch: 44.7*; resnet101:norm=batch: 39.6*"
    assert notes[0] == "* CV-DD prints the best of every tenth epoch; all other columns are of the last."
    assert not any("without the changes" in note for note in notes)
    changed = own(record, config={**CVDD, "steps": 1000}, changed=["steps"])
    assert "without the changes of this row" in printed_beside([changed])["table-1-cifar, steps=1000"][1][-1]


@pytest.mark.parametrize(
    "other",
    [
        {"config": {**CVDD, "label_recipe": {"kind": "regions", "epochs": 1}}},  # labels given afterwards
        {"config": {**CVDD, "members": 1}, "changed": ["members"]},
        {"config": {**CVDD, "steps": 9}, "changed": ["steps"]},  # an ablation beside the plain setting
        {"stops": {"recover": {"step": 0, "reason": "the time budget of 1 s is used up"}}},
    ],
)
def test_no_number_stands_beside_a_row_that_is_not_as_printed(
    record: Callable[..., Record], other: dict[str, Any]
) -> None:
    beside = printed_beside([own(record), own(record, **other)])
    assert beside.pop("table-1-cifar")[0].startswith("resnet18")
    ((text, _),) = beside.values()
    assert text == grid.NONE


def test_a_page_warns_of_networks_that_are_not_of_the_protocols_panel(record: Callable[..., Record]) -> None:
    def warning(**fields: Any) -> str:
        (table,) = board.tables([own(record, **fields)])
        return sections.of_table(table).warning

    assert warning(cells={"resnet18:norm=batch": [0.4, 0.41]}) == ""
    assert warning(cells=NARROW) == (
        "A network that is not of the protocol's panel: resnet10:norm=batch,width=16. "
        "Numbers printed for that panel do not compare."
    )
    (table,) = board.tables([record("dm", protocol="somebodys-own")])
    assert sections.of_table(table).warning == ""
    (table,) = board.tables([own(record, cells=NARROW)])
    accuracy, cost = grid.accuracy(table, []), grid.cost(table)
    assert "not of the protocol's panel" in terminal.text(table, accuracy, cost, 200)
    assert "not of the protocol's panel" in markdown.page(sections.of_table(table), [accuracy])


def test_all_printed_numbers_are_listed_with_their_sources() -> None:
    text = markdown.printed(reported.read(COMMITTED))
    assert "| DM | cifar10 | convnet-d3 | hard | ipc-1 26.0 ± 0.8; ipc-10 48.9 ± 0.6; " in text
    assert all(source.url in text for source, _ in ENTRIES)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": None}, "source"),
        ({"source.url": ""}, "source.url"),
        ({"rows.status": "memory"}, "rows.0.status"),
        ({"rows.percent": {"ipc-1": [126.0, 0.1]}}, "accuracies are in percent"),
        ({"rows": []}, "rows"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named_with_its_field(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    document = json.loads((COMMITTED / "reported" / "cim.json").read_text())
    for path, value in change.items():
        head, _, tail = path.partition(".")
        if not tail:
            document[head] = value
        elif head == "rows":
            document["rows"][0][tail] = value
        else:
            document[head][tail] = value
    target = tmp_path / "reported" / "wrong.json"
    target.parent.mkdir()
    target.write_text(json.dumps(document))
    with pytest.raises(DamagedFile, match=r"wrong\.json") as error:
        reported.read(tmp_path)
    assert named in str(error.value)
