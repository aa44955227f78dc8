"""Preprocessing: closed forms, exact inverses, an independent computation, and where the matrices come from."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from condense import files, preprocessing, zca
from condense.data import Split, cache, load
from condense.errors import BadInput
from condense.preprocessing import Preprocessing
from condense.whitening import verify


def random_split(count: int = 40, shape: tuple[int, int, int] = (2, 3, 2), seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split.from_arrays(images, [0] * count, ("a",))


@pytest.fixture
def train() -> Split:
    return random_split()


@pytest.fixture(params=["identity", "normalise", "zca", "zca-normalised", "zca-relative"])
def fitted(request: pytest.FixtureRequest, train: Split) -> Preprocessing:
    return preprocessing.fit(request.param, train)


def test_zca_of_two_pixels_is_the_one_solved_by_hand() -> None:
    # Two pixels, four images: (0, 0), (255, 255), (51, 0), (204, 255), that is +-(a, b) about the mean 1/2 with
    # (a, b) = (.5, .5) and (.3, .5). Sums of squares: a 2(.25 + .09) = .68, b 2(.25 + .25) = 1, a b 2(.25 + .15) = .8.
    levels = torch.tensor([[0, 0], [255, 255], [51, 0], [204, 255]], dtype=torch.uint8)
    split = Split.from_arrays(levels.view(4, 1, 1, 2), [0] * 4, ("a",))
    mean, covariance = zca.moments(split)
    expected = torch.tensor([[0.68, 0.80], [0.80, 1.00]], dtype=torch.float64) / 3
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.5], dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(covariance, expected, rtol=0, atol=1e-15)
    # The square root of a 2x2 matrix M: (M + s I) / t with s = sqrt(det M), t = sqrt(trace M + 2 s).
    matrix = expected + 0.1 * torch.eye(2, dtype=torch.float64)
    s = math.sqrt(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] ** 2)
    root = (matrix + s * torch.eye(2, dtype=torch.float64)) / math.sqrt(matrix.trace() + 2 * s)
    found = preprocessing.fit("zca", split, epsilon=0.1)
    torch.testing.assert_close(found.matrices["unwhiten"], root, rtol=1e-13, atol=0)
    torch.testing.assert_close(found.matrices["whiten"], torch.linalg.inv(root), rtol=1e-13, atol=0)
    x = torch.tensor([0.9, 0.2], dtype=torch.float64).view(1, 1, 1, 2)
    by_hand = (x.view(2) - 0.5) @ torch.linalg.inv(root)
    torch.testing.assert_close(found.forward(x).view(2), by_hand, rtol=1e-13, atol=0)


def test_moments_are_those_of_numpy_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    split = random_split(count=23)
    flat = split.take(range(23)).flatten(1).numpy().astype(np.float64) / 255
    whole = zca.moments(split)
    monkeypatch.setattr(zca, "_CHUNK", 5)
    chunked = zca.moments(split)
    for mean, covariance in (whole, chunked):
        np.testing.assert_allclose(mean, flat.mean(0), rtol=1e-14)
        np.testing.assert_allclose(covariance, np.cov(flat, rowvar=False), atol=1e-15)
    # The sums are exact, so that chunks make no difference at all.
    assert torch.equal(whole[0], chunked[0])
    assert torch.equal(whole[1], chunked[1])


def test_extreme_levels_stay_exact_in_a_full_chunk() -> None:
    # All products are (-128)^2 or 127 * -128: the largest sums that the float32 chunks can meet.
    images = torch.zeros(1025, 1, 1, 2, dtype=torch.uint8)
    images[0, 0, 0, 0] = 255
    _, covariance = zca.moments(Split.from_arrays(images, [0] * 1025, ("a",)))
    # One image of 1,025 is 1 and the others 0: variance (1 - 1/1025) / 1024 = 1/1025.
    assert covariance[0, 0].item() == pytest.approx(1 / 1025, rel=1e-15)
    assert covariance[0, 1].item() == covariance[1, 1].item() == 0.0


def test_zca_agrees_with_a_singular_value_decomposition_of_the_images(train: Split) -> None:
    found = preprocessing.fit("zca", train, epsilon=0.05)
    flat = train.take(range(len(train))).flatten(1).numpy().astype(np.float64) / 255
    mean = flat.mean(0)
    _, singular, rows = np.linalg.svd(flat - mean, full_matrices=False)
    scale = 1 / np.sqrt(singular**2 / (len(flat) - 1) + 0.05)
    whitened = (flat - mean) @ (rows.T * scale) @ rows
    images = torch.from_numpy(flat).view(len(train), *train.shape)
    np.testing.assert_allclose(found.forward(images).flatten(1), whitened, atol=1e-12)


def test_zca_of_normalised_images_is_that_of_a_fit_on_them(train: Split) -> None:
    normal = preprocessing.fit("normalise", train)
    images = train.take(range(len(train))).to(torch.float64) / 255
    flat = normal.forward(images).flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    expected = (flat - flat.mean(0)) @ (vectors / (values + 0.1).sqrt()) @ vectors.T
    found = preprocessing.fit("zca-normalised", train).forward(images)
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-10)


def test_a_relative_ridge_is_a_part_of_the_mean_variance(train: Split) -> None:
    normal = preprocessing.fit("normalise", train)
    images = train.take(range(len(train))).to(torch.float64) / 255
    flat = normal.forward(images).flatten(1)
    covariance = torch.cov(flat.T)
    u, s, _ = torch.linalg.svd(covariance + 0.3 * covariance.trace() / len(covariance) * torch.eye(12).double())
    expected = (flat - flat.mean(0)) @ (u / s.sqrt()) @ u.T
    found = preprocessing.fit("zca-relative", train, epsilon=0.3).forward(images)
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-10)


def test_a_relative_ridge_does_not_depend_on_the_scale_of_the_images() -> None:
    draws = np.random.default_rng(0).integers(0, 64, (40, 2, 3, 2), dtype=np.uint8)
    narrow, wide = (Split.from_arrays(draws * factor, [0] * 40, ("a",)) for factor in (1, 4))
    whitened = [preprocessing.fit("zca-relative", split).forward(split.take(range(40))) for split in (narrow, wide)]
    torch.testing.assert_close(*whitened, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["zca-normalised", "zca-relative"])
def test_zca_of_normalised_images_is_resolved_as_such(kind: str, train: Split, tmp_path: Path) -> None:
    fitted = preprocessing.fit(kind, train)
    again = preprocessing.resolve(fitted.spec(), train=train, cache_dir=tmp_path)  # an empty cache
    assert again.digest == fitted.digest != preprocessing.fit("zca", train).digest
    assert torch.equal(again.matrices["whiten"], fitted.matrices["whiten"])


def test_whitened_images_have_the_shrunk_eigenvalues(train: Split) -> None:
    found = preprocessing.fit("zca", train, epsilon=0.1)
    images = train.take(range(len(train))).double() / 255
    before = torch.linalg.eigvalsh(images.flatten(1).T.cov())
    after = torch.linalg.eigvalsh(found.forward(images).flatten(1).T.cov())
    torch.testing.assert_close(after, before / (before + 0.1), rtol=0, atol=1e-13)


def test_a_singular_covariance_is_whitened_and_inverted() -> None:
    split = random_split(count=3, shape=(1, 4, 4))  # rank 2 in 16 dimensions
    found = preprocessing.fit("zca", split)
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert found.forward(x).isfinite().all()
    torch.testing.assert_close(found.inverse(found.forward(x)), x, rtol=0, atol=1e-10)


def test_the_inverse_undoes_forward(fitted: Preprocessing) -> None:
    x = torch.rand(6, 2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fitted.inverse(fitted.forward(x)), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(fitted.forward(fitted.inverse(x)), x, rtol=0, atol=1e-10)
    outside = 3 * x - 1
    torch.testing.assert_close(fitted.inverse(fitted.forward(outside)), outside, rtol=0, atol=1e-10)  # not clamped


def test_bytes_are_read_as_fractions_of_255(fitted: Preprocessing, train: Split) -> None:
    images = train.take([0, 3])
    mapped = fitted.forward(images)
    assert mapped.dtype == torch.float32
    assert torch.equal(mapped, fitted.forward(images.float() / 255))
    double = fitted.forward(images.double() / 255)
    assert double.dtype == torch.float64
    torch.testing.assert_close(mapped.double(), double, rtol=0, atol=1e-5)  # float32 rounding of 12 terms


def test_forward_and_inverse_are_differentiable(fitted: Preprocessing) -> None:
    x = torch.rand(2, 2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert gradcheck(fitted.forward, (x,))
    assert gradcheck(fitted.inverse, (x,))


def test_a_map_first_used_for_judging_can_be_distilled_with(fitted: Preprocessing) -> None:
    with torch.inference_mode():
        fitted.forward(torch.zeros(1, 2, 3, 2))
    x = torch.zeros(1, 2, 3, 2, requires_grad=True)
    fitted.forward(x).square().sum().backward()
    assert x.grad is not None


def test_normalise_subtracts_and_divides_by_channel() -> None:
    found = preprocessing.normalise((0.5, 0.25), (0.5, 0.125))
    x = torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)
    assert found.forward(x).flatten().tolist() == [1.0, 2.0]
    assert found.inverse(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)).flatten().tolist() == [1.0, 0.5]


def test_a_constant_channel_is_centred_and_comes_back() -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 2, 2, 2), dtype=np.uint8)
    images[:, 1] = 51
    split = Split.from_arrays(images, [0] * 9, ("a",))
    found = preprocessing.fit("normalise", split)
    mapped = found.forward(split.take(range(9)))
    assert mapped[:, 1].abs().max() == 0.0
    assert torch.equal((found.inverse(mapped) * 255).round().to(torch.uint8), split.take(range(9)))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (0.0,), "deviations positive, got .*; use 1 to leave a scale"),
        ((0.5,), (-1.0,), "deviations positive"),
        ((math.nan,), (1.0,), "means must be finite"),
        ((0.5, 0.5), (1.0,), "one mean and one deviation for each channel, got 2 and 1"),
        ((), (), "got 0 and 0"),
    ],
)
def test_impossible_statistics_are_refused(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        preprocessing.normalise(mean, std)


def test_images_of_another_shape_are_refused(train: Split) -> None:
    whitening = preprocessing.fit("zca", train)
    with pytest.raises(BadInput, match=r"fitted on images \(2, 3, 2\), got \(2, 2, 3\)"):
        whitening.forward(torch.zeros(1, 2, 2, 3))
    with pytest.raises(BadInput, match="for 2 channels, got images of shape"):
        preprocessing.fit("normalise", train).inverse(torch.zeros(1, 3, 2, 2))
    with pytest.raises(BadInput, match=r"must be \(B, C, H, W\), uint8 or float, got torch.int64"):
        preprocessing.identity().forward(torch.zeros(1, 2, 2, 3, dtype=torch.int64))


def test_fitting_refuses_what_it_cannot_do(train: Split) -> None:
    with pytest.raises(BadInput, match=r"unknown preprocessing .whiten.; use identity, normalise, zca, "):
        preprocessing.fit("whiten", train)
    for epsilon in (0.0, -0.1, math.nan):
        with pytest.raises(BadInput, match="epsilon of ZCA must be positive"):
            preprocessing.fit("zca", train, epsilon=epsilon)
    with pytest.raises(
        BadInput, match=r"of images \(3, 74, 74\) needs two matrices of 16428 squared numbers; use normalise"
    ):
        preprocessing.fit("zca", random_split(2, (3, 74, 74)))
    with pytest.raises(BadInput, match="at least two training images"):
        preprocessing.fit("zca", train.subset([0]))


def test_fitting_again_gives_the_same_digest_and_matrices(train: Split, tmp_path: Path) -> None:
    first = preprocessing.fit("zca", train, cache_dir=tmp_path / "one")
    second = preprocessing.fit("zca", random_split(), cache_dir=tmp_path / "two")
    assert first.digest == second.digest
    assert all(torch.equal(first.matrices[name], second.matrices[name]) for name in first.matrices)


def test_digests_tell_every_setting_apart(train: Split) -> None:
    variants = [
        preprocessing.identity(),
        preprocessing.normalise((0.5, 0.5), (0.5, 0.5)),
        preprocessing.normalise((0.5, 0.5), (0.5, 0.25)),
        preprocessing.fit("zca", train),
        preprocessing.fit("zca", train, epsilon=0.2),
        preprocessing.fit("zca", random_split(seed=1)),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)


def test_matrices_are_computed_once_and_kept_in_the_cache(train: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    first = preprocessing.fit("zca", train)
    monkeypatch.setattr(zca, "moments", lambda split: pytest.fail("the moments were computed again"))
    second = preprocessing.fit("zca", train.unlabelled())
    assert torch.equal(first.matrices["whiten"], second.matrices["whiten"])
    assert second.matrices["whiten"].dtype == torch.float64


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_cache_is_computed_again(train: Split, damage: str) -> None:
    first = preprocessing.fit("zca", train)
    (path,) = (cache.root() / "preprocessing").glob("*.safetensors")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        files.write_tensors(path, {"mean": torch.zeros(3)})
    second = preprocessing.fit("zca", train)
    assert torch.equal(first.matrices["unwhiten"], second.matrices["unwhiten"])


def test_matrices_with_a_changed_number_are_found_and_computed_again(train: Split) -> None:
    first = preprocessing.fit("zca", train)
    (path,) = (cache.root() / "preprocessing").glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)
    assert "its matrices are not the ones that were written" in verify(path)[0]
    second = preprocessing.fit("zca", train)
    assert all(torch.equal(first.matrices[name], matrix) for name, matrix in second.matrices.items())
    assert verify(path) == []


def test_matrices_without_a_checksum_count_as_absent(train: Split) -> None:
    first = preprocessing.fit("zca", train)
    (path,) = (cache.root() / "preprocessing").glob("*.safetensors")
    files.write_tensors(path, {name: matrix + 1 for name, matrix in first.matrices.items()})
    assert verify(path) == []
    second = preprocessing.fit("zca", train)
    assert torch.equal(first.matrices["whiten"], second.matrices["whiten"])
    assert "checksum" in files.read_metadata(path)


def test_a_specification_survives_json_and_gives_the_same_map(fitted: Preprocessing, tmp_path: Path) -> None:
    files.write_json(tmp_path / "spec.json", fitted.spec())
    again = preprocessing.from_spec(files.read_json(tmp_path / "spec.json"), fitted.tensors())
    assert again.digest == fitted.digest
    x = torch.rand(3, 2, 3, 2, generator=torch.Generator().manual_seed(3))
    assert torch.equal(again.forward(x), fitted.forward(x))  # bundles are float32: bit-identical in float32
    assert torch.equal(again.inverse(x), fitted.inverse(x))


def test_bytes_are_those_of_the_bundle(fitted: Preprocessing) -> None:
    assert fitted.nbytes() == sum(tensor.numel() * tensor.element_size() for tensor in fitted.tensors().values())
    assert (fitted.nbytes() > 0) == (fitted.kind == "zca")


def test_a_bundle_that_does_not_fit_is_refused(train: Split) -> None:
    whitening = preprocessing.fit("zca", train)
    wrong = {**whitening.tensors(), "mean": torch.zeros(5)}
    with pytest.raises(BadInput, match=r"mean should be \(12,\), is \(5,\); bundle them again"):
        preprocessing.from_spec(whitening.spec(), wrong)
    with pytest.raises(BadInput, match="expected mean, unwhiten, whiten, got none"):
        preprocessing.from_spec(whitening.spec())


@pytest.mark.parametrize(
    "spec", [{}, {"kind": "pca"}, {"kind": "normalise", "mean": [0.5]}, {"kind": "zca", "epsilon": "x", "shape": [1]}]
)
def test_what_is_no_specification_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"^preprocessing(\.normalise\.std|\.zca\.epsilon)?: "):
        preprocessing.resolve(spec)


def test_resolving_takes_the_bundle_then_the_cache_then_the_training_split(train: Split, tmp_path: Path) -> None:
    whitening = preprocessing.fit("zca", train, cache_dir=tmp_path / "full")
    spec = whitening.spec()
    with pytest.raises(BadInput, match="neither bundled nor in the cache; give the data set"):
        preprocessing.resolve(spec, cache_dir=tmp_path / "empty")
    with pytest.raises(BadInput, match=r"whitened by training data .*; give the same data set"):
        preprocessing.resolve(spec, train=random_split(seed=1), cache_dir=tmp_path / "empty")
    found = {
        "bundle": preprocessing.resolve(spec, bundled=whitening.tensors(), cache_dir=tmp_path / "empty"),
        "cache": preprocessing.resolve(spec, cache_dir=tmp_path / "full"),
        "train": preprocessing.resolve(spec, train=train, cache_dir=tmp_path / "empty"),
    }
    x = torch.rand(2, 2, 3, 2, generator=torch.Generator().manual_seed(4))
    for way, again in found.items():
        assert again.digest == whitening.digest, way
        assert torch.equal(again.forward(x), whitening.forward(x)), way


def test_a_description_without_matrices_can_be_read_but_not_applied(train: Split) -> None:
    whitening = preprocessing.fit("zca", train)
    described = preprocessing.without_matrices(whitening.spec())
    assert (described.digest, described.nbytes()) == (whitening.digest, whitening.nbytes())
    with pytest.raises(BadInput, match="neither bundled nor in the cache"):
        described.forward(torch.zeros(1, 2, 3, 2))


def test_moving_keeps_the_map(fitted: Preprocessing) -> None:
    moved = fitted.to("cpu")
    x = torch.rand(2, 2, 3, 2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(moved.forward(x), fitted.forward(x))
    assert moved.digest == fitted.digest


def test_zca_sees_the_training_split_only() -> None:
    digits = load("digits")
    whitening = preprocessing.fit("zca", digits.train)
    mapped = whitening.forward(digits.train.take(range(len(digits.train))).double() / 255)
    assert mapped.mean(0).abs().max() < 1e-12
    on_test = whitening.forward(digits.test.take(range(len(digits.test))).double() / 255)
    assert on_test.mean(0).abs().max() > 1e-2
    assert whitening.fingerprint == digits.train.fingerprint
