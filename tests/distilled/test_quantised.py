"""Quantised soft labels: what is kept, what is lost, what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condense.distilled.labels import Codec, QuantisedLabels
from condense.distilled.labels.quantised import KINDS, Kind
from condense.errors import BadInput, UnknownName

ROW = torch.tensor([[0.5, 0.25, 0.125, 0.0625, 0.0625]])  # exact in half precision
LOGITS = torch.tensor([[4.0, 3.0, 1.0, 0.0, -1.0], [0.0, 2.0, 0.0, -2.0, 8.0]])


def through(codec: Codec, values: torch.Tensor, form: str, temperature: float = 1.0) -> torch.Tensor:
    return codec.decode(codec.encode(values, form, temperature), values.shape[1])  # type: ignore[arg-type]


def test_every_entry_comes_back_from_a_full_row() -> None:
    assert torch.equal(through(Codec(), ROW, "probabilities"), ROW)
    assert torch.equal(through(Codec(), LOGITS, "logits"), LOGITS)


def test_the_rest_of_a_smoothed_row_is_spread_evenly() -> None:
    """FKD's marginal smoothing: (1 - sum of the k largest) / (K - k) elsewhere."""
    expected = torch.tensor([[0.5, 0.25, 0.25 / 3, 0.25 / 3, 0.25 / 3]])
    torch.testing.assert_close(through(Codec("smoothed", k=2), ROW, "probabilities"), expected)


def test_a_renormalised_row_is_zero_elsewhere_and_adds_up_to_one() -> None:
    expected = torch.tensor([[0.5, 0.25, 0.125, 0.0, 0.0]]) / 0.875
    torch.testing.assert_close(through(Codec("renormalised", k=3), ROW, "probabilities"), expected)
    assert through(Codec("renormalised", k=1), ROW, "probabilities").tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0]]


def test_logits_keep_the_largest_and_the_mean_of_the_others_for_any_temperature() -> None:
    found = through(Codec("logits", k=2), LOGITS, "logits")
    expected = torch.tensor([[4.0, 3.0, 0.0, 0.0, 0.0], [-2 / 3, 2.0, -2 / 3, -2 / 3, 8.0]])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)  # the tail is in half precision
    # At a high temperature softmax is linear in the logits, so a tail with the right mean has the right mass.
    soft, kept = ((values / 20).softmax(1) for values in (LOGITS, found))
    torch.testing.assert_close(kept[:, 2:].sum(1)[0], soft[:, 2:].sum(1)[0], rtol=2e-3, atol=0)


@pytest.mark.parametrize("kind", ["smoothed", "renormalised"])
@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_decoded_probabilities_add_up_to_one(kind: str, k: int) -> None:
    values = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)) * 4
    found = through(Codec(kind, k), values, "logits", temperature=2.0)  # type: ignore[arg-type]
    torch.testing.assert_close(found.sum(1), torch.ones(50))
    assert float(found.min()) >= 0
    if k >= 5:  # all entries are kept, to the rounding of half precision
        torch.testing.assert_close(found, (values / 2).softmax(1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mass", [0.0, 0.5])
def test_a_row_keeps_its_mass_or_is_refused(kind: Kind, mass: float) -> None:
    """A region without a label is a row of zeros; mixed with another one, a part of a row is missing."""
    codec = Codec(kind, k=2)
    if kind == "full":
        assert torch.equal(through(codec, mass * ROW, "probabilities"), mass * ROW)
    else:
        with pytest.raises(BadInput, match="would fill up rows" if codec.whole else "keeps logits"):
            codec.encode(mass * ROW, "probabilities")


@pytest.mark.parametrize("codec", [Codec(), Codec("smoothed", 3), Codec("renormalised", 7), Codec("logits", 2)])
def test_bytes_are_those_of_the_stored_tensors_and_match_the_schema(codec: Codec) -> None:
    stored = codec.encode(LOGITS, "logits")
    assert codec.nbytes(2, 5) == sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    found = {name: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in stored.items()}
    assert found == codec.schema(2, 5)


def test_class_numbers_beyond_two_bytes_stay_exact() -> None:
    """Half precision, in which FKD stores them, is exact up to 2048 only."""
    values = torch.zeros(1, 40_000)
    values[0, 39_999] = 9.0
    values[0, 2049] = 8.0
    stored = Codec("smoothed", 2).encode(values, "logits")
    assert stored["top_index"].tolist() == [[39_999, 2049]]
    assert Codec("smoothed", 2).encode(values[:, :2100], "logits")["top_index"].dtype == torch.int16


def test_static_labels_hand_out_decoded_rows_and_the_largest_class() -> None:
    labels = QuantisedLabels.of(LOGITS, Codec("smoothed", 2), "logits", temperature=4.0)
    batch = labels.view(0, 0, torch.tensor([1, 0]))
    assert (batch.form, labels.temperature, labels.n_classes, labels.count) == ("probabilities", 4.0, 5, 2)
    assert torch.equal(batch.target, through(Codec("smoothed", 2), LOGITS, "logits", 4.0)[[1, 0]])  # type: ignore[arg-type]
    assert labels.hard().tolist() == [0, 4]
    kept = QuantisedLabels.of(LOGITS, Codec("logits", 2), "logits", temperature=4.0)
    assert (kept.form, kept.temperature) == ("logits", 1.0)  # undivided, for any temperature


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown quantisation 'top'"):
        Codec("top")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="got k=0"):
        Codec("smoothed", 0)
    with pytest.raises(BadInput, match="the labels are probabilities"):
        Codec("logits").encode(ROW, "probabilities")
    stored = Codec("smoothed", 2).encode(ROW, "probabilities")
    with pytest.raises(BadInput, match="top_value as float16"):
        QuantisedLabels({**stored, "top_value": stored["top_value"].double()}, Codec("smoothed", 2), 5)


@pytest.mark.parametrize(
    ("kind", "form", "change", "message"),
    [
        ("logits", "logits", {"top_index": torch.full((2, 2), 99, dtype=torch.int16)}, "top_index from 99 to 99"),
        ("logits", "logits", {"top_index": torch.full((2, 2), -1, dtype=torch.int16)}, "expected 0 to 4"),
        ("logits", "logits", {"top_value": torch.full((2, 2), float("nan")).half()}, "top_value that are not finite"),
        ("logits", "logits", {"tail": torch.full((2,), float("inf")).half()}, "tail that are not finite"),
        ("smoothed", "probabilities", {"top_value": torch.full((2, 2), 5.0).half()}, "expected 0 to 1"),
        ("full", "logits", {"target": torch.full((2, 5), float("inf")).half()}, "target that are not finite"),
        ("full", "probabilities", {"target": torch.full((2, 5), -1.0).half()}, "expected 0 to 1"),
    ],
)
def test_rows_that_no_encoding_gives_are_refused(
    kind: Any, form: Any, change: dict[str, torch.Tensor], message: str
) -> None:
    codec = Codec(kind, 2)
    values = torch.full((2, 5), 0.2)
    stored = {**codec.encode(values, form), **change}
    with pytest.raises(BadInput, match=f"a row of the quantised labels .*{message}"):
        QuantisedLabels(stored, codec, 5, form)


def test_logits_beyond_half_precision_are_refused_when_they_are_quantised() -> None:
    with pytest.raises(BadInput, match="not finite"):
        QuantisedLabels.of(torch.full((2, 5), 1e6), Codec("full"), "logits")
