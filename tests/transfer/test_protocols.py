"""Transfer protocols are data: versioned, hashed, and complete."""

from __future__ import annotations

from typing import Any

import pytest

from condense import networks
from condense.errors import DamagedFile, UnknownName
from condense.evaluate.protocol import FOLDER as ORDINARY
from condense.evaluate.transfer import protocol as protocols
from condense.evaluate.transfer.protocol import FOLDER, TransferProtocol
from condense.self_supervised import BarlowTwins
from condense.training import Recipe

# A published version never changes. To change a protocol, add a file of the next version and its digest here.
PUBLISHED = {
    "transfer-1": "8749528f9ec4e7fdece97cefe1b8c6be620d7f2baa4eda419a150e112868fcb8",
    "transfer-2": "73b02718fb982e65fa3b2c0f26813ce315532a64bb316b8067cd201bd6b8f242",
    "transfer-fine-grained-1": "ce243bf47e1bcc36a050052974d341f43ccfeb069414c53a9246400930136cf3",
    "transfer-narrow-1": "b4e8f7b8cbad8a53bae80795c4529aa0f21597b75d9371137ed51d0280cb93da",
    "transfer-narrow-2": "1be86742e30ecd78498f4f26710b13443553f2baa8ddf8bb5019092f1e045773",
    "transfer-narrow-3": "0def4d4cac43e0201e5602354fdd49619e72413c27194c2f329be3702ba5ed24",
    "transfer-quick-1": "51d687cc75a87240c1ee7135687cdab0cac28e7faeedd13ad69fc9d5b780c5d9",
    "transfer-short-1": "b6ca0e308283ad56560ec10bfd468087b44f0fab9e429147d8ba5d6dd456454f",
    "transfer-short-2": "ac5f82d3e0e8fa5af6531194e2f9238082e75011175cd837830aded36eef98e8",
    "transfer-short-3": "f920d2ef731d8b336df05242202d85bc50f172e3647688c929fb149ee5d22e66",
}
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))
# What a field left out may be: without effect for the recipe's own optimiser, schedule or loss.
OFF = {
    "betas": [0.9, 0.999],
    "momentum": 0.9,
    "nesterov": False,
    "after": None,
    "factor": 0.1,
    "stretch": 1.0,
    "floor": 0.0,
    "per": "epoch",
    "warmup": 0,
    "rise": 0.3,
}


def recipes(protocol: TransferProtocol) -> list[dict[str, Any]]:
    pretrain = protocol.pretrain
    given = [stage.recipe for stage in (pretrain.representation, pretrain.soft, pretrain.hard)]
    return given + ([{"epochs": 1, **protocol.fine_tune.recipe}] if protocol.fine_tune else [])


def test_published_versions_are_what_they_were() -> None:
    assert {name: protocols.load(name).digest for name in FILES} == PUBLISHED


@pytest.mark.parametrize("stem", FILES)
def test_a_shipped_file_is_called_what_it_says_and_not_as_an_ordinary_protocol(stem: str) -> None:
    protocol = protocols.load(stem)
    assert f"{protocol.name}-{protocol.version}" == stem
    assert protocols.is_shipped(protocol.name)
    assert not (ORDINARY / f"{stem}.json").exists()


@pytest.mark.parametrize("stem", FILES)
def test_a_shipped_recipe_leaves_nothing_to_defaults(stem: str) -> None:
    protocol = protocols.load(stem)
    for given in recipes(protocol):
        filled = Recipe.from_spec(given).spec()
        for part, full in ((given, filled), (given["schedule"], filled["schedule"]), (given["loss"], filled["loss"])):
            assert all(name in OFF and full[name] == OFF[name] for name in full.keys() - part.keys())
    full = protocol.self_supervision("mlp").spec()
    assert full.keys() - protocol.self_supervised.keys() == {"kind", "network"}
    assert full["views"].keys() - protocol.self_supervised["views"].keys() == {"kind"}


@pytest.mark.parametrize("stem", FILES)
@pytest.mark.parametrize("side", [8, 28, 32, 64, 224])
def test_every_panel_has_one_network_that_exists(stem: str, side: int) -> None:
    (name,) = protocols.load(stem).networks((3, side, side))
    assert networks.canonical(name) == name


def test_representations_are_fitted_without_augmentation_as_published() -> None:
    protocol = protocols.load("transfer")
    recipe = protocol.pretrain.representation.recipe_for(1000, flips=True)
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.augment, recipe.loss.kind) == (1000, 256, 0.1, None, "mse")
    assert protocol.fine_tune is not None
    tuned = protocol.fine_tune.recipe_for(50_000, flips=False)
    assert (tuned.epochs, tuned.updates) == (52, 10_000)
    assert tuned.augment == {"kind": "crop-flip", "padding": 4, "flip": False}


def test_fine_grained_targets_differ_in_the_length_of_fine_tuning_alone() -> None:
    usual, fine = (protocols.load(name).model_dump() for name in ("transfer", "transfer-fine-grained"))
    assert (usual["fine_tune"].pop("updates"), fine["fine_tune"].pop("updates")) == (10_000, 5_000)
    told = {"name", "version", "title", "notes"}
    assert {name for name in usual if usual[name] != fine[name]} == told


@pytest.mark.parametrize("samples", [100, 256, 500])
def test_soft_labels_are_trained_on_as_far_as_published(samples: int) -> None:
    """Rate times updates, also with narrow networks, whatever the size of the set."""
    stage = protocols.load("transfer-narrow").pretrain.soft
    recipe = stage.recipe_for(samples, flips=True)
    assert recipe.lr * recipe.epochs * recipe.steps_per_epoch(samples) == pytest.approx(10_000 * 3e-4)


def test_fine_tuning_makes_whole_passes_nearest_to_its_updates(make_protocol) -> None:
    tuning = make_protocol().fine_tune
    passes = [tuning.recipe_for(samples, flips=True).epochs for samples in (8, 32, 44, 64, 1000)]
    assert passes == [12, 3, 2, 2, 1]  # 12 updates of batches of 8


def test_fine_tuning_makes_exactly_its_updates_where_a_pass_may_end_early() -> None:
    """500 in batches of 128: half of CIFAR-10, Fashion-MNIST, and a hundredth of the former."""
    tuning = protocols.load("transfer-narrow-2").fine_tune
    assert tuning is not None
    for samples, passes in ((25_000, 3), (60_000, 2), (250, 250)):
        recipe = tuning.recipe_for(samples, flips=True)
        assert (recipe.epochs, recipe.updates) == (passes, 500)
    before = protocols.load("transfer-narrow-1").fine_tune
    assert before is not None
    assert before.recipe_for(25_000, flips=True).updates is None


def test_settings_are_every_use_with_every_share(make_protocol) -> None:
    names = [str(setting) for setting in make_protocol().settings()]
    assert names == ["fine-tune@0.25", "fine-tune@1", "probe@0.25", "probe@1"]
    assert [setting.kind for setting in make_protocol(fine_tune=None).settings()] == ["probe", "probe"]


def test_the_reference_s_recipe_is_the_one_of_the_file(make_protocol) -> None:
    recipe = make_protocol().self_supervision("mlp:width=8")
    assert recipe == BarlowTwins(network="mlp:width=8", epochs=1, batch=12, projector=4, warmup=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fine_tune": None, "probe": False}, "fine-tunes, probes"),
        ({"shares": [0.5, 0.1]}, "ascend"),
        ({"shares": [0.5, 1.5]}, "ends at 1"),
        ({"panel": [{"network": "mlp", "recipe": {"lr": 1.0}}]}, "same recipes"),
        ({"name": "quick"}, "pattern"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(make_protocol, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_protocol(**changes)


def test_unknown_names_and_files_of_another_kind_are_refused() -> None:
    with pytest.raises(UnknownName, match="transfer-quick"):
        protocols.load("transfer-quik")
    with pytest.raises(DamagedFile, match=r"quick-1\.json"):
        protocols.load(ORDINARY / "quick-1.json")
    assert not protocols.is_shipped("quick")
