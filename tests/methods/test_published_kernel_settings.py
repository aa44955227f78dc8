"""Every published preset of kernel ridge regression against its authors' scripts, number by number.

What a loop does with these numbers (schedules, the ridge's convention, how old a network grows) is held to the loops
written out in `test_kernel_regression_steps.py`, and the ages of networks in tests of their own there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from setting_tables import differences, rows
from torch import nn

from condense import networks
from condense.methods import frepo, kip, krr_st
from condense.networks import Network

# The commands of the authors and the defaults of their script. D: numbers of a feature vector; T: updates of a network.
KRR_ST = """
preset          pixels  widths          D     steps   lr    batch  pool  T     inner_lr  momentum  decay  ridge  padding
published-32px  32      128,256,512     8192  160000  1e-4  1024   10    1000  0.1       0.9       1e-3   1e-6   4
published-64px  64      64,128,256,512  8192  160000  1e-5  1024   10    1000  0.1       0.9       1e-3   1e-6   4
"""
# The authors' script; mirror images are on for CIFAR-10 and where a class has one image.
FREPO = """
preset               pixels  widths            steps   lr    batch  pool  T    online_lr  ridge  mirror  space
published-cifar10    32      128,256,512       500000  3e-4  1024   10    100  3e-4       1e-6   yes     zca-relative
published-large-ipc  32      128,256,512       500000  3e-4  1024   10    100  3e-4       1e-6   no      zca-relative
published-large-ipc  64      128,256,512,1024  500000  3e-4  1024   10    100  3e-4       1e-6   no      zca-relative
cifar100-ipc50       32      128,256,512       500000  3e-4  1024   10    100  3e-4       1e-6   no      zca-relative
published-grey       28      128,256,512       500000  3e-4  1024   10    100  3e-4       1e-6   no      normalise
"""
NAMES = {"preset", "pixels"}  # columns that say whose row it is


def ids(row: dict[str, str]) -> str:
    return f"{row['preset']}-{row['pixels']}"


def built(config: Any, row: dict[str, str]) -> Network:
    side = int(row["pixels"])
    return networks.build(config.network, (1 if side == 28 else 3, side, side), 1)


def widths(network: Network) -> str:
    return ",".join(str(layer.out_channels) for layer in network.modules() if isinstance(layer, nn.Conv2d))


def batch_norms(network: Network) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("row", rows(KRR_ST), ids=ids)
def test_a_preset_of_krr_st_is_the_authors_command(row: dict[str, str]) -> None:
    config = krr_st.PRESETS[row["preset"]].config
    network = built(config, row)
    assert config.lr_targets == config.lr_images  # one rate for both
    found = {
        "widths": widths(network),
        "D": network.classifier.in_features,
        "steps": config.steps,
        "lr": config.lr_images,
        "batch": config.real_batch,
        "pool": config.pool,
        "T": config.inner_steps,
        "inner_lr": config.inner_lr,
        "momentum": config.inner_momentum,
        "decay": config.inner_decay,
        "ridge": config.ridge,
        "padding": config.padding,
    }
    assert differences(row, found, NAMES) == {}
    assert batch_norms(network) == len(row["widths"].split(","))


def test_what_else_the_authors_of_krr_st_do_is_the_same_in_every_command() -> None:
    """A bias, fresh crops in each step, all images in an update, and the two quirks of their code."""
    fixed = krr_st.Config(
        bias=True,
        augment=True,
        cached_views=0,
        inner_batch=0,
        rebirth="old",
        initial_space="pixels",
        preprocessing="normalise",
        precision="float32",
        gram="float32",
        teacher="barlow-twins",
        teacher_network="resnet18:norm=batch",
    )
    assert set(krr_st.PRESETS) == {*(row["preset"] for row in rows(KRR_ST)), "cpu"}
    assert krr_st.PRESETS["published-32px"].config == fixed
    larger = krr_st.PRESETS["published-64px"].config
    assert dataclasses.replace(larger, lr_images=1e-4, lr_targets=1e-4, network=fixed.network) == fixed
    # Without a preset: the paper, whose networks are trained again, and images in the space of the real ones.
    assert dataclasses.replace(krr_st.Config(), rebirth="old", initial_space="pixels") == fixed


@pytest.mark.parametrize("row", rows(FREPO), ids=ids)
def test_a_preset_of_frepo_is_the_authors_script(row: dict[str, str]) -> None:
    config = frepo.PRESETS[row["preset"]].config
    network = built(config, row)
    found = {
        "widths": widths(network),
        "steps": config.steps,
        "lr": config.lr,
        "batch": config.real_batch,
        "pool": config.pool,
        "T": config.online_updates,
        "online_lr": config.online_lr,
        "ridge": config.ridge,
        "mirror": config.mirror,
        "space": config.preprocessing,
    }
    assert differences(row, found, NAMES) == {}
    assert batch_norms(network) == len(row["widths"].split(",")) - 1  # before every convolution but the first


def test_what_else_the_authors_of_frepo_do_is_the_same_in_every_script() -> None:
    """Learned labels with their margin, real images at first, and 0.9 of the statistics from each online update."""
    fixed = frepo.Config(
        learn_labels=True,
        label_margin=1.0,
        online_batch=1000,
        statistics=0.9,
        initial="real",
        precision="float32",
        gram="float32",
    )
    assert set(frepo.PRESETS) == {*(row["preset"] for row in rows(FREPO)), "cpu"}
    for name in {row["preset"] for row in rows(FREPO)}:
        config = frepo.PRESETS[name].config
        own = {field: getattr(config, field) for field in ("mirror", "preprocessing")}
        own["gram"] = "float64" if name == "cifar100-ipc50" else "float32"  # ours, against their NaN
        assert config == dataclasses.replace(fixed, **own)
    assert frepo.Config() == fixed


def test_no_preset_of_kip_claims_to_be_published() -> None:
    """Its authors' settings were not read but for the ridge: a millionth of the mean trace, on whitened images."""
    assert not [name for name in kip.PRESETS if name.startswith("published")]
    for name in set(kip.PRESETS) - {"cpu"}:
        preset = kip.PRESETS[name]
        assert preset.source.startswith("this project's choice")
        assert (preset.config.ridge, preset.config.preprocessing) == (1e-6, "zca-relative")
