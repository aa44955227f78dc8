"""Protocols are data: versioned, hashed, resolved by network, image size and set size alone."""

from __future__ import annotations

import json

import pytest

from condense import networks
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.evaluate import protocol as protocols
from condense.evaluate.protocol import FOLDER
from condense.training import Recipe

# A published version never changes. To change a protocol, add a file of the next version and its digest here.
PUBLISHED = {
    "hard-dsa-1": "803bf14130c039ac69e88184addde27bf4600eac0c4c4b1690e2711bb1c5caf2",
    "hard-plain-1": "5079c20756e2d25607f83ef19237d9943c294b9a926bab8ce334d79eba69a534",
    "quick-1": "984259767841e84988915f9fab514cfda05d9eb72da10cb1a6052bdc186fb486",
    "quick-soft-1": "20ca95173dc60846a58c53f96370193a5b633e43b34f2878f9a3400eb141426e",
    "soft-common-1": "3f3f9a3f55d0f3a8176ee848e009e2678108aad2a52b92f235a4f0512c813ab8",
    "validation-1": "7fe1d86398f5c08ba3fab4b226e323b15c263b88b1697b109db0aec9977095cc",
}

FILES = sorted(path.stem for path in FOLDER.glob("*.json"))


def test_published_versions_are_what_they_were():
    assert {name: protocols.load(name).digest for name in FILES} == PUBLISHED


@pytest.mark.parametrize("stem", FILES)
def test_a_shipped_file_is_called_what_it_says(stem):
    protocol = protocols.load(stem)
    assert f"{protocol.name}-{protocol.version}" == stem


@pytest.mark.parametrize("stem", FILES)
def test_a_shipped_recipe_leaves_nothing_to_defaults(stem):
    """A default that changes would change the protocol behind its digest; what is off may be left out."""
    protocol = protocols.load(stem)
    for given in [protocol.recipe] + ([protocol.teacher.recipe] if protocol.teacher else []):
        full = Recipe.from_spec(given).spec()
        for part, filled in (
            (given, full),
            (given["schedule"], full["schedule"]),
            (given["loss"], full["loss"]),
        ):
            unsaid = {
                name: value for name, value in filled.items() if name not in part and value not in OFF.get(name, ())
            }
            assert not unsaid


# What a field left out may be: without effect for the recipe's own optimiser, schedule or loss.
OFF = {
    "betas": ([0.9, 0.999],),
    "momentum": (0.9,),
    "nesterov": (False,),
    "after": (None,),
    "factor": (0.1,),
    "stretch": (1.0,),
    "floor": (0.0,),
    "per": ("epoch",),
    "warmup": (0,),
    "rise": (0.3,),
}


@pytest.mark.parametrize("stem", FILES)
@pytest.mark.parametrize("side", [8, 28, 32, 64, 128, 224])
def test_every_panel_has_one_convnet_and_networks_that_exist(stem, side):
    names = protocols.load(stem).networks((3, side, side))
    assert len([name for name in names if name.startswith("convnet")]) == 1
    assert [networks.canonical(name) for name in names] == names


def test_a_convnet_is_as_deep_as_the_image_allows_for_a_last_map_of_four_pixels():
    load = protocols.load("hard-dsa")
    depths = [load.networks((3, side, side))[0] for side in (8, 32, 64, 128, 256)]
    assert depths == [f"convnet-d{depth}" for depth in (2, 3, 4, 5, 6)]


def test_hard_dsa_is_the_recipe_of_the_matching_papers():
    recipe = protocols.load("hard-dsa").recipe_for("convnet-d3", 100, flips=True)
    assert recipe == Recipe.matching(1000, augment=recipe.augment)
    assert recipe.augment["ops"] == ["color", "crop", "cutout", "flip", "scale", "rotate"]
    assert protocols.load("hard-plain").recipe_for("convnet-d3", 100, flips=True) == Recipe.matching(300)


def test_flips_leave_the_augmentation_where_they_change_the_class():
    protocol = protocols.load("hard-dsa")
    assert "flip" not in protocol.recipe_for("mlp", 10, flips=False).augment["ops"]
    soft = protocols.load("soft-common")
    assert soft.recipe_for("mlp", 10, flips=False).augment["flip"] is False
    assert "flip" not in soft.teacher_recipe(1000, flips=False).augment["ops"]


def test_large_sets_make_fewer_epochs_with_the_drop_at_the_same_fraction():
    protocol = protocols.load("hard-dsa")
    assert protocol.recipe_for("mlp", 10_000, flips=True).epochs == 1001
    whole = protocol.recipe_for("mlp", 50_000, flips=True)
    assert whole.epochs * whole.steps_per_epoch(50_000) <= protocol.max_updates
    assert whole.epochs == 40040 // 196
    assert whole.schedule.after / whole.epochs == pytest.approx(501 / 1001, abs=0.5 / whole.epochs)
    huge = protocol.recipe_for("mlp", 10_000_000, flips=True)
    assert (huge.epochs, huge.schedule.after) == (3, 1)


def test_a_set_brings_its_learning_rate_only_where_the_protocol_says_so(make_protocol):
    rate = {"from_set_else": 0.01, "networks": ["mlp:width=8"]}
    own = make_protocol(track="own", needs={"labels": "hard", "lr": rate})
    assert own.recipe_for("mlp:width=8", 10, flips=True, step_size=0.3).lr == 0.3
    assert own.recipe_for("mlp:width=8", 10, flips=True).lr == 0.01
    assert own.recipe_for("convnet-d1:width=4", 10, flips=True, step_size=0.3).lr == 0.05
    assert make_protocol().recipe_for("mlp:width=8", 10, flips=True, step_size=0.3).lr == 0.05


def test_a_network_of_the_panel_may_have_a_recipe_of_its_own(make_protocol):
    panel = [{"network": "mlp", "recipe": {"lr": 0.2, "epochs": 17}}, {"network": "lenet"}]
    protocol = make_protocol(panel=panel)
    assert protocol.recipe_for("mlp", 10, flips=True).lr == 0.2
    assert protocol.recipe_for("mlp", 10, flips=True).epochs == 17
    assert protocol.recipe_for("lenet", 10, flips=True).lr == 0.05


def test_a_name_means_its_newest_version(tmp_path, monkeypatch, make_protocol):
    for version in (2, 10):
        save(make_protocol(version=version), tmp_path / f"tiny-{version}.json")
    monkeypatch.setattr(protocols, "FOLDER", tmp_path)
    assert protocols.load("tiny").version == 10
    assert protocols.load("tiny-2").version == 2
    assert protocols.names() == ["tiny"]


def save(protocol, path):
    path.write_text(json.dumps(protocol.model_dump(mode="json", by_alias=True)))


def test_the_digest_is_of_what_is_said_not_of_how(tmp_path, make_protocol):
    protocol = make_protocol()
    save(protocol, tmp_path / "spelled-out.json")
    assert protocols.load(tmp_path / "spelled-out.json").digest == protocol.digest
    assert make_protocol(seeds=3).digest != protocol.digest
    assert make_protocol(notes=["others"]).digest != protocol.digest


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean hard-dsa"):
        protocols.load("hard-dca")
    with pytest.raises(BadInput, match="does not exist; a protocol is one of"):
        protocols.load("nowhere/mine.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"track": "best"}, "track"),
        ({"seeds": 0}, "seeds"),
        ({"networks": []}, "networks"),
        ({"needs": {"labels": "none"}}, "teacher of its own"),
        ({"needs": {"labels": "hard", "lr": 0.01}}, "needs.lr"),
    ],
)
def test_a_file_that_is_no_protocol_is_refused_by_name(tmp_path, make_protocol, change, named):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(make_protocol().model_dump(mode="json", by_alias=True) | change))
    with pytest.raises(DamagedFile, match=named) as error:
        protocols.load(path)
    assert str(path) in str(error.value)


def test_an_invalid_recipe_is_named(make_protocol):
    with pytest.raises(UnknownName, match="recipe field 'epoch'"):
        make_protocol(recipe={"epoch": 3}).recipe_for("mlp", 10, flips=True)
