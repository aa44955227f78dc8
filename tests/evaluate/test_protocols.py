"""Protocols are data: versioned, hashed, resolved by network, image size and set size alone."""

from __future__ import annotations

import json

import pytest

from condense import networks, teachers
from condense.augment import DSA
from condense.errors import BadInput, DamagedFile, UnknownName
from condense.evaluate import protocol as protocols
from condense.evaluate.protocol import FOLDER
from condense.training import Recipe

# A published version never changes. To change a protocol, add a file of the next version and its digest here.
PUBLISHED = {
    "cda-imagenet-1": "594d2212cb54d77ac561f257032f957a71e67d34043d8b90b36ca9a3e9e67278",
    "cvdd-cifar10-1": "649ff1544ae96344230b8973c5bc79abe505acf574abb667ed0b60948ea81705",
    "cvdd-cifar100-1": "af8721186aab00c4b72aa838d7d07ab3098b12d1596e4d74526bbfac36ca4497",
    "cvdd-imagenet-1": "e7ce68b12e92e701a7470f171c89cd24c07381bf357db205741fdb95ebc488db",
    "cvdd-tiny-1": "6469173438f0f48376062811cb31dc7161f22476b0159b0971157b45b59e2a45",
    "datm-1": "0e58855cdcbe83938ef39bd0c02f215142ff3138cb029537be3798f48c0d2df0",
    "hard-dsa-1": "803bf14130c039ac69e88184addde27bf4600eac0c4c4b1690e2711bb1c5caf2",
    "hard-large-1": "a54720c537e3b75a6c21aa0c6878be95ff0e6735f533226b65a0809507b4a241",
    "hard-narrow-1": "56aec8d796e7db7ce8a3d414e0c7dd7e1ba835a73e7ede4010a1cdffa3fec877",
    "hard-plain-1": "5079c20756e2d25607f83ef19237d9943c294b9a926bab8ce334d79eba69a534",
    "infer-dynamic-1": "8229ea66e256029999e4ef2aa1ae6077b1e3b653f4a63ae2b06f5346fb07732b",
    "infer-static-1": "cb75cf61574c986fd481fed3c97d5bf0a92cc925186a93a01bb54ac18f788e50",
    "mtt-1": "379006143f8879b43e3c042b8d299596e5e7cf8af197515ecd5ceed970639985",
    "quick-1": "984259767841e84988915f9fab514cfda05d9eb72da10cb1a6052bdc186fb486",
    "quick-replay-1": "59cc1db8aa592eba474873b6d76a371f9f4b8aa3d139923eafaea8502e13297d",
    "quick-soft-1": "20ca95173dc60846a58c53f96370193a5b633e43b34f2878f9a3400eb141426e",
    "rded-10-1": "8510acfa3d33beebba39ecdbfdbdd470df6d620b7a12ea5fb3b0c6f8f96320b8",
    "rded-10-2": "8ac8068f80cfd133f4a20250053cc2f1fa0e381e53c9d2544fea6ff6b1853daa",
    "rded-100-1": "250e52b409ccbce27e25437e0a07c6f6ca2eb41b8f792d525f00dfa90012ddbf",
    "rded-100-2": "820897ad8918f6e24ab307a61c527f8ace9055ae87a8f1498df60ab78f56d211",
    "rded-imagenet-1": "96c2bcd0b763e570806f384c275fd92e474b1857d81178bb251cf150b55996d1",
    "rded-imagenet-2": "db9fa6796336049b77d81ebc987a5e79a166615b4fb8f5380f5f41157091e0e1",
    "rded-tiny-1": "d2113848ca44405e61435d0f038d7158dbb56be8f0efde86ac3110e6a4a7c050",
    "rded-tiny-2": "d1cca2d02345be884148b9c7853820a8bb1e3fc8ebf4e8c0e3705f7ed4b835c2",
    "soft-common-1": "3f3f9a3f55d0f3a8176ee848e009e2678108aad2a52b92f235a4f0512c813ab8",
    "soft-large-1": "fdbb086168b287a10257ee4967e6c61e5d9ab3a2e8d5e1e5abe6d6898b316851",
    "soft-narrow-1": "7621da4a062d8aa15e7df88cbe80a9f70b7446d9854083c261eacb076c9a407b",
    "sre2l-cifar-1": "9a64e8db10ab9ae9d28e3ed2b72b82919e5145305a0e26275c87b7f13311724d",
    "sre2l-imagenet-1": "96004a3f82d05a190489d7f74fd7aa6b7e0c2f1a4d8e85ca260a1fe9b6973391",
    "sre2l-tiny-1": "639065c71c055155a2d11da5933d16a6468b04ed14c7bf93b19c5afe17f322bc",
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
def test_every_common_panel_has_one_convnet_and_all_have_networks_that_exist(stem, side):
    protocol = protocols.load(stem)
    names = protocol.networks((3, side, side))
    assert [networks.canonical(name) for name in names] == names
    if protocol.track != "own":  # a paper's own panel is what the paper trains
        assert len([name for name in names if name.startswith("convnet")]) == 1


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


@pytest.mark.parametrize("name", ["hard-narrow", "soft-narrow"])
def test_a_set_that_stands_for_more_images_gets_no_more_updates_in_the_narrow_tier(name):
    protocol = protocols.load(name)
    for network in protocol.networks((3, 32, 32)):
        made = {}
        for images in (100, 280):
            recipe = protocol.recipe_for(network, images, flips=True)
            made[images] = recipe.epochs * recipe.steps_per_epoch(images)
        assert made[100] == protocol.max_updates
        assert made[100] - recipe.steps_per_epoch(280) < made[280] <= made[100]


def test_the_narrow_teacher_is_trained_by_the_short_recipe():
    expected = teachers.recipe("short", flips=True, epochs=20)
    assert protocols.load("soft-narrow").teacher_recipe(50_000, flips=True) == expected


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


def test_a_set_of_another_size_may_have_a_recipe_of_its_own(make_protocol):
    sizes = [
        {"recipe": {"batch": 2}, "max_samples": 10},
        {"recipe": {"lr": 0.3}, "min_samples": 10, "networks": ["mlp"]},
        {"recipe": {"lr": 0.4}, "min_samples": 20},
    ]
    protocol = make_protocol(panel=[{"network": "mlp"}, {"network": "lenet", "recipe": {"lr": 0.2}}], sizes=sizes)
    found = {
        (network, samples): protocol.recipe_for(network, samples, flips=True)
        for network in ("mlp", "lenet")
        for samples in (9, 10, 20)
    }
    assert {key: recipe.batch for key, recipe in found.items() if recipe.batch == 2} == {("mlp", 9): 2, ("lenet", 9): 2}
    assert [found["mlp", samples].lr for samples in (9, 10, 20)] == [0.05, 0.3, 0.4]
    assert [found["lenet", samples].lr for samples in (9, 10, 20)] == [0.2, 0.2, 0.4]


@pytest.mark.parametrize(
    ("protocol", "classes", "batches"),
    [
        ("rded-10", 10, {1: 10, 10: 50, 50: 100}),
        ("rded-100", 100, {1: 20, 10: 100, 50: 200}),
        ("rded-tiny", 200, {1: 100, 10: 100, 50: 100}),
        ("rded-imagenet", 1000, {1: 20, 10: 100, 50: 200}),
    ],
)
def test_rded_trains_in_batches_that_follow_the_size_of_the_set(protocol, classes, batches):
    load = protocols.load(protocol)
    network = "torchvision:resnet18" if classes == 1000 else "resnet18:norm=batch"
    for ipc, batch in batches.items():
        assert load.recipe_for(network, ipc * classes, flips=True).batch == batch
    assert protocols.load("rded-100").recipe_for("convnet-d3:norm=batch", 1000, flips=True).batch == 25


@pytest.mark.parametrize(
    ("protocol", "rates"),
    [
        ("rded-10", {"alexnet": 1e-4, "vgg11": 5e-4, "vgg11:norm=batch": 5e-4, "mobilenet-v2": 2.5e-3, "mlp": 1e-3}),
        ("rded-100", {"alexnet": 1e-4, "vgg11": 5e-4, "efficientnet-b0": 2e-3, "convnet-d3:norm=batch": 2e-3}),
        ("rded-tiny", {"alexnet": 1e-4, "vgg11": 5e-4, "resnet101:norm=batch": 1e-3}),
        (
            "rded-imagenet",
            {"torchvision:alexnet": 1e-4, "torchvision:vit_b_16": 1e-4, "torchvision:swin_v2_t": 1e-4}
            | {"torchvision:vgg11": 5e-4, "torchvision:efficientnet_b0": 2e-3, "torchvision:densenet121": 1e-3},
        ),
    ],
)
def test_rded_has_the_rates_of_its_script_outside_the_panel_too(protocol, rates):
    load = protocols.load(protocol)
    assert {name: load.recipe_for(name, 5000, flips=True).lr for name in rates} == rates


@pytest.mark.parametrize(
    ("protocol", "classes", "network", "rate", "stretches"),
    [
        ("cvdd-cifar10", 10, "resnet18:norm=batch", 1e-3, {1: 1, 10: 1, 50: 1}),
        ("cvdd-cifar10", 10, "resnet101:norm=batch", 5e-4, {1: 1, 10: 1, 50: 1}),
        ("cvdd-cifar100", 100, "resnet50:norm=batch", 1e-3, {1: 1, 10: 2, 50: 1}),
        ("cvdd-cifar100", 100, "resnet101:norm=batch", 5e-4, {1: 1, 10: 1, 50: 1}),
        ("cvdd-tiny", 200, "resnet18:norm=batch", 1e-3, {1: 2, 10: 1, 50: 2}),
        ("cvdd-tiny", 200, "resnet50:norm=batch", 1e-3, {1: 1, 10: 1, 50: 1}),
        ("cvdd-tiny", 200, "resnet101:norm=batch", 5e-4, {1: 2, 10: 2, 50: 2}),
        ("cvdd-imagenet", 1000, "torchvision:resnet18", 1e-3, {1: 2, 10: 2, 50: 1}),
    ],
)
def test_cvdd_smooths_the_cosine_where_its_scripts_do(protocol, classes, network, rate, stretches):
    load = protocols.load(protocol)
    for ipc, stretch in stretches.items():
        recipe = load.recipe_for(network, ipc * classes, flips=True)
        assert (recipe.lr, recipe.schedule.stretch, recipe.batch) == (rate, stretch, 16)
    assert protocols.load("cvdd-imagenet").recipe_for("torchvision:resnet101", 50_000, flips=True).lr == 5e-4


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


@pytest.mark.parametrize(("name", "batch"), [("mtt", 256), ("datm", 128)])
def test_trajectory_matching_is_judged_at_the_step_size_of_the_set_on_the_network_it_was_learned_for(name, batch):
    protocol = protocols.load(name)
    for network, rate in (("convnet-d3", 0.034), ("convnet-d3:width=32", 0.034), ("resnet18", 0.01)):
        recipe = protocol.recipe_for(network, 100, flips=True, step_size=0.034)
        assert recipe == Recipe.matching(1000, lr=rate, batch=batch, augment=DSA(align_corners=True).spec())
    assert protocol.recipe_for("convnet-d3", 100, flips=True).lr == 0.01
