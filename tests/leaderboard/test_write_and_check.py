"""Writing, checking and printing a leaderboard: pure functions of the results folder."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from condense import files
from condense.errors import DamagedFile
from condense.evaluate import leaderboard, records
from condense.evaluate.leaderboard import cards, heat_map, look, size_plot
from condense.evaluate.parts import Cell
from condense.evaluate.records import Record

Make = Callable[..., Record]
Results = Callable[..., Path]


@pytest.fixture
def made(record: Make) -> list[Record]:
    """Two methods and the reference, two seeds and budgets, one n/a and one failed cell, and a quick table."""
    found = [
        record(
            name, kind=kind, seed=seed, budget={"ipc": ipc}, cells={"convnet-d3": [base, base * (1.02 + 0.02 * seed)]}
        )
        for name, kind, base in (("random", "selection", 0.3), ("dm", "synthetic", 0.5))
        for seed in (0, 1)
        for ipc in (1, 10)
    ]
    bad = {
        "mlp": Cell(status="n/a", reason="the set offers | no hard labels"),
        "vit": Cell(status="failed", reason="50 % <b>NaN</b> & co_x"),
    }
    found.append(record("dc", kind="synthetic", cells=bad))
    found.append(record("full", kind="full", budget={"fraction": 1.0}, cells={"convnet-d3": [0.8]}))
    return [*found, record("random", protocol="quick", tier="quick: for two cores", dataset="digits", preset=None)]


@pytest.fixture
def real_pictures() -> None:
    """A test that names this fixture draws with matplotlib; all others write what a picture would be drawn from."""


@pytest.fixture(autouse=True)
def _drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_pictures" not in request.fixturenames:
        for module in (heat_map, size_plot):
            monkeypatch.setattr(module, "draw", lambda data: dict.fromkeys(look.SUFFIXES, repr(data).encode()))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_everything_is_written_where_it_is_promised(made: list[Record], results: Results, tmp_path: Path) -> None:
    home = results(made)
    paths = leaderboard.write(home, tmp_path / "cards")
    names = {str(path.relative_to(home / "leaderboard")) for path in paths if path.is_relative_to(home)}
    table = {f"hard-dsa-1/cifar10/ipc-10{end}" for end in (".md", ".csv", ".tex", "-networks.png", "-networks.svg")}
    assert names >= table | {"README.md", "index.html", "hard-dsa-1/cifar10/bytes.png", "quick-1/digits/ipc-10.md"}
    assert all(path.is_file() for path in paths)
    assert leaderboard.check(home, tmp_path / "cards") == []


@pytest.mark.usefixtures("real_pictures")
def test_equal_records_give_equal_bytes_in_whatever_order_they_were_written(
    made: list[Record], results: Results, tmp_path: Path
) -> None:
    shuffled = random.Random(0).sample(made, len(made))
    for name, order in (("first", made), ("second", shuffled)):
        leaderboard.write(results(order, name), tmp_path / name / "cards")
    first, second = (snapshot(tmp_path / name) for name in ("first", "second"))
    assert first == second


def test_a_second_write_touches_nothing(made: list[Record], results: Results, tmp_path: Path) -> None:
    home = results(made)
    paths = leaderboard.write(home, tmp_path / "cards")
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert leaderboard.write(home, tmp_path / "cards") == paths
    assert {path: path.stat().st_mtime_ns for path in paths} == before


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("hard-dsa-1/cifar10/ipc-10.md", b"more", "is not what the records give"),
        ("hard-dsa-1/cifar10/ipc-10.csv", b"", "is not what the records give"),
        ("index.html", None, "is missing"),
        ("hard-dsa-1/cifar10/bytes.png", b"x", "is not the picture that was drawn"),
        ("hard-dsa-1/cifar10/ipc-1-networks.svg", None, "is missing"),
        ("hard-dsa-1/cifar10/ipc-1-networks.json", b"{", "damaged file"),
        ("hard-dsa-1/cifar10/ipc-7.md", b"# old", "belongs to no record"),
        ("../../cards/cifar10.md", b"", "is not what the records give"),
    ],
)
def test_check_names_what_is_not_as_the_records_give_it_and_write_mends_it(
    made: list[Record], results: Results, tmp_path: Path, name: str, change: bytes | None, problem: str
) -> None:
    home, cards = results(made), tmp_path / "cards"
    leaderboard.write(home, cards)
    path = home / "leaderboard" / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change)
    found = leaderboard.check(home, cards)
    assert any(problem in line and path.name in line for line in found), found
    leaderboard.write(home, cards)
    assert leaderboard.check(home, cards) == []


def test_new_records_make_tables_and_pictures_out_of_date(made: list[Record], results: Results, record: Make) -> None:
    home = results(made)
    leaderboard.write(home)
    records.merge(home, record("herding", cells={"convnet-d3": [0.35, 0.36]}))
    problems = leaderboard.check(home)
    assert any("ipc-10-networks.png was drawn from other numbers" in line for line in problems)
    assert any("ipc-10.tex is not what the records give" in line for line in problems)
    assert not any("ipc-1-networks" in line for line in problems)
    assert all(line.endswith("run `condense leaderboard`") for line in problems)


def test_tables_and_cards_without_records_go_and_other_peoples_files_stay(
    made: list[Record], results: Results, tmp_path: Path
) -> None:
    home, cards = results(made), tmp_path / "cards"
    leaderboard.write(home, cards)
    own = cards / "notes.md"
    own.write_text("written by hand")
    for path in list(records.paths(home)):
        if "quick" in str(path):
            path.unlink()
    leaderboard.write(home, cards)
    assert not (home / "leaderboard/quick-1/digits/ipc-10.md").exists()
    assert not (cards / "digits.md").exists()
    assert own.exists()
    assert leaderboard.check(home, cards) == []


def test_nothing_to_show_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    assert leaderboard.write(tmp_path, tmp_path / "cards") == []
    assert leaderboard.check(tmp_path) == []
    assert not (tmp_path / "leaderboard").exists()
    assert leaderboard.text(tmp_path).startswith(f"There are no records under {tmp_path / 'records'}; `condense bench`")


@pytest.mark.parametrize("content", [b"{", b'{"schema": 1}', b""])
def test_a_damaged_record_is_named_and_nothing_is_written(made: list[Record], results: Results, content: bytes) -> None:
    home = results(made)
    path = next(iter(records.paths(home)))
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=path.name):
        leaderboard.write(home)
    with pytest.raises(DamagedFile, match=path.name):
        leaderboard.text(home)
    assert any(path.name in line for line in leaderboard.check(home))
    assert not (home / "leaderboard").exists()


def test_the_markdown_holds_ranks_reasons_the_tier_and_the_pictures(made: list[Record], results: Results) -> None:
    home = results(made)
    leaderboard.write(home)
    page = (home / "leaderboard/hard-dsa-1/cifar10/ipc-1.md").read_text()
    assert "- DM beats `random`" in page
    assert "| 1 | DM | cpu | 50.8 ± 1.5 (4) | 50.8 ± 1.5 (4) | 2 |" in page
    assert "| ref [1] | FULL | cpu | 80.0 (1) |" in page
    assert "](ipc-1-networks.png)" in page
    assert "](bytes.png)" in page
    unranked = (home / "leaderboard/hard-dsa-1/cifar10/ipc-10.md").read_text()
    assert "n/a: the set offers | no hard labels" in unranked
    quick = (home / "leaderboard/quick-1/digits/ipc-10.md").read_text()
    assert "> **Tier “quick”: for two cores. A network that is not of the protocol's panel: " in quick
    assert "Tier “quick”" not in page


@pytest.mark.parametrize("suffix", ["md", "tex", "csv"])
def test_every_quick_table_says_so_in_every_format(made: list[Record], results: Results, suffix: str) -> None:
    home = results(made)
    leaderboard.write(home)
    text = (home / f"leaderboard/quick-1/digits/ipc-10.{suffix}").read_text()
    assert "tier quick" in text or ",quick," in text or "Tier ``quick''" in text
    assert "tier quick" in (home / "leaderboard/index.html").read_text()


def test_the_spreadsheet_has_every_number(made: list[Record], results: Results) -> None:
    home = results(made)
    leaderboard.write(home)
    with (home / "leaderboard/hard-dsa-1/cifar10/ipc-1.csv").open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    assert [line["method"] for line in lines] == ["dm", "random", "full"]
    assert float(lines[0]["convnet-d3 mean"]) == pytest.approx(50.75)
    assert lines[0]["convnet-d3 n"] == "4"
    assert float(lines[0]["IOR mean"]) == pytest.approx(20.3)
    assert lines[0]["bytes total"] == "30800"
    assert [(line["best rank"], line["worst rank"]) for line in lines] == [("1", "1"), ("2", "2"), ("", "")]


def test_latex_has_no_character_that_breaks_it(made: list[Record], results: Results) -> None:
    home = results(made)
    leaderboard.write(home)
    text = (home / "leaderboard/hard-dsa-1/cifar10/ipc-10.tex").read_text()
    assert r"50 \% $<$b$>$NaN$<$/b$>$ \& co\_x" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}")
    assert text.isascii()


class Tags(HTMLParser):
    """Counts tags and collects what a page loads from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag in ("script", "img", "link", "iframe"):
            self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_escapes_what_records_say(made: list[Record], results: Results) -> None:
    home = results(made)
    leaderboard.write(home)
    text = (home / "leaderboard/index.html").read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.loaded
    assert all(source.startswith("data:image/svg+xml;base64,") for source in tags.loaded)
    assert tags.count["section"] == 3
    assert tags.count["th"] == tags.count["button"]  # every column sorts
    assert "caption" not in tags.count  # one inside the table would be as narrow, or cut off, as the table is
    assert "<b>NaN" not in text
    assert "&lt;b&gt;NaN" in text


def test_columns_for_printed_numbers_are_there_only_where_some_are_printed(
    made: list[Record], results: Results
) -> None:
    home = results(made)
    printed = {"dataset": "cifar10", "method": "dm", "title": "DM", "network": "convnet-d3", "labels": "hard"}
    source = {
        "short": "XX", "paper": "A paper with a title", "where": "Table 1", "url": "https://a.org",
        "read_as": "full text", "accuracy": "mean in percent",
    }  # fmt: skip
    row = printed | {"protocols": ["hard-dsa"], "status": "own", "percent": {"ipc-1": [50.0, None]}}
    files.write_json(home / "reported/xx.json", {"schema": 1, "source": source, "rows": [row]})
    leaderboard.write(home)
    for name, shown in (("hard-dsa-1/cifar10/ipc-1", True), ("hard-dsa-1/cifar10/ipc-10", False)):
        assert ("| source of reported |" in (home / f"leaderboard/{name}.md").read_text()) is shown
    assert '<a href="https://a.org" rel="noopener">https://a.org</a>' in (home / "leaderboard/index.html").read_text()


def test_the_text_fits_the_terminal_and_names_the_networks_it_leaves_out(
    record: Make, results: Results, panel: tuple[str, ...]
) -> None:
    home = results([record(f"m{i}", cells={name: [0.4, 0.5] for name in panel}) for i in range(20)])
    text = leaderboard.text(home, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "Not shown at this width: " in text
    assert all(f"M{i} " in text for i in range(20))
    wide = leaderboard.text(home, width=240)
    assert "Not shown" not in wide


def test_cards_hold_bytes_results_and_how_the_set_was_made(
    made: list[Record], results: Results, tmp_path: Path
) -> None:
    leaderboard.write(results(made), tmp_path / "cards")
    dataset = (tmp_path / "cards/cifar10.md").read_text()
    assert "| homepage | https://www.cs.toronto.edu/~kriz/cifar.html |" in dataset
    linked = [line.split("](")[1].split(")")[0] for line in dataset.splitlines() if line.startswith("| [")]
    assert len(linked) == 10
    assert all((tmp_path / "cards" / link).is_file() for link in linked)
    card = next((tmp_path / "cards/cifar10/ipc-10").glob("dm-s0-*.md")).read_text()
    assert "| hard-dsa-1 | convnet-d3 | 50.5 ± 6.4 (2) | 50.0, 51.0 |  |" in card
    assert "| **total** | 30,800 |" in card
    head = card.split("---")[1].strip().splitlines()
    assert {key: json.loads(value) for key, value in (line.split(": ", 1) for line in head)}["source_datasets"] == [
        "cifar10"
    ]


@pytest.mark.parametrize(
    ("seeded", "sentence"),
    [
        (True, "They speak of this one set; a claim about its method needs several distillation seeds"),
        (False, "They speak of the method too, which draws nothing: every distillation seed gives this set."),
    ],
)
def test_the_card_of_a_set_says_what_its_numbers_speak_of(record: Make, seeded: bool, sentence: str) -> None:
    found = cards.texts([record("herding", seeded=seeded)])
    (path,) = (path for path in found if path.startswith("cifar10/"))
    assert sentence in found[path]
