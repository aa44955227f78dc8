"""Every published preset of trajectory matching against the tables of its authors, cell by cell.

Columns: N steps of the student, M epochs matched, T+ the end of the start epochs, b the batch (all: the whole set),
then step sizes of images, of the step size, and its first value; what else differs by method follows.
"""

from __future__ import annotations

from typing import Any

import pytest
from setting_tables import differences, rows

from condense.methods import ast, datm, ftd, mtt, tesla

# Commands of the authors as DC-BENCH collects them; readme and author on subsets of ImageNet; FYI's script.
MTT = """
preset                  N   M  T+  b    lr_img  lr_lr  beta   pixels     iterations
cifar10-ipc1            50  2  2   all  100     1e-7   0.01   zca        5000
cifar10-ipc10           30  2  20  all  100     1e-5   0.001  zca        5000
cifar10-ipc50           30  2  40  all  1000    1e-5   0.001  normalise  5000
cifar100-ipc1           20  3  20  all  1000    1e-5   0.01   zca        5000
cifar100-ipc10          20  2  20  all  1000    1e-5   0.01   normalise  5000
cifar100-ipc50          80  2  40  125  1000    1e-5   0.01   zca        5000
tiny-imagenet-ipc1      10  2  10  all  1e4     1e-4   0.01   normalise  5000
tiny-imagenet-ipc10     20  2  40  200  1e4     1e-4   0.01   normalise  5000
tiny-imagenet-ipc50     20  2  40  300  1e4     1e-4   0.01   normalise  5000
imagenet-subsets-ipc1   20  2  10  all  1000    1e-6   0.01   normalise  5000
imagenet-subsets-ipc10  20  2  10  20   1e5     1e-6   0.01   normalise  5000
fyi-cifar10-ipc1        50  2  2   all  100     1e-7   0.01   zca        10000
"""
# The authors' readme; on ImageNet-1K 50 experts and the expert's labels.
TESLA = """
preset           N   M  T+  b    lr_img  lr_lr  beta  pixels     iterations  experts  soft
imagenet1k-ipc1  10  3  10  100  1e4     1e-4   0.01  normalise  10000       50       yes
cifar10-ipc1     50  2  5   all  1000    1e-7   0.01  normalise  10000       100      no
cifar100-ipc50   80  2  40  125  1000    1e-5   0.01  zca        10000       100      no
"""
# Table 7, transposed; pixels are MTT's for the same cell. The last row is what the authors say of subsets of ImageNet.
FTD = """
preset               N   M  T+  b     lr_img  lr_lr  beta   pixels     iterations  alpha  ema
cifar10-ipc1         50  2  2   all   100     1e-7   0.01   zca        5000        0.3    0.9999
cifar10-ipc10        30  2  20  all   100     1e-5   0.001  zca        5000        0.3    0.9995
cifar10-ipc50        30  2  40  all   1000    1e-5   0.01   normalise  5000        1      0.999
cifar100-ipc1        40  3  20  all   1000    1e-5   0.01   zca        5000        1      0.9995
cifar100-ipc10       20  2  40  all   1000    1e-5   0.01   zca        5000        1      0.9995
cifar100-ipc50       80  2  40  1000  1000    1e-5   0.01   zca        5000        1      0.999
tiny-imagenet-ipc1   30  2  10  all   1e4     1e-4   0.01   normalise  5000        1      0.999
tiny-imagenet-ipc10  20  2  40  500   1e4     1e-4   0.01   normalise  5000        1      0.999
imagenet-subsets     20  2  10  64    1e4     1e-4   0.01   normalise  5000        1      0.999
"""
# The authors' configuration files; T- is the first start epoch, T the end of the window at first, R the steps it rises.
DATM = """
preset               N    M  T+  b     lr_img  lr_lr  beta  pixels  iterations  T-  T   R     lr_y  threshold  initial
cifar10-ipc1         80   2  4   10    100     1e-7   0.01  zca     10000       0   -   off   5     1.1        correct
cifar10-ipc10        80   2  20  100   100     1e-5   0.01  zca     10000       0   10  1000  2     1.0        correct
cifar10-ipc50        80   2  40  500   1000    1e-5   0.01  zca     10000       0   20  2000  2     1.0        correct
cifar10-ipc500       40   2  60  1000  50      1e-5   0.01  zca     10000       40  -   off   10    1.0        correct
cifar10-ipc1000      100  2  60  1000  50      1e-5   0.01  zca     10000       40  -   off   10    1.0        correct
cifar100-ipc1        40   3  20  all   1000    1e-5   0.01  zca     10000       0   10  1000  10    1.0        correct
cifar100-ipc10       80   2  50  1000  1000    1e-5   0.01  zca     10000       0   30  2000  10    1.0        correct
cifar100-ipc50       80   2  70  1000  1000    1e-5   0.01  zca     10000       20  -   off   10    1.0        real
cifar100-ipc100      80   2  70  1000  50      1e-5   0.01  zca     10000       30  -   off   10    1.0        correct
tiny-imagenet-ipc1   40   2  20  all   10000   1e-4   0.01  zca     10000       0   15  2000  10    1.0        correct
tiny-imagenet-ipc10  40   2  50  500   100     1e-4   0.01  zca     10000       10  -   off   10    1.0        correct
tiny-imagenet-ipc50  20   2  70  1000  100     1e-4   0.01  zca     10000       40  -   off   10    1.0        correct
"""
# Readme and scripts; `noise` is --weight_perturb, `middle` --agg_middle_loss, `smooth` clipping and penalty.
AST = """
preset                       N   M  T+  b    lr_img  lr_lr  beta  pixels     iterations  initial         noise  middle  balance  smooth
cifar100-ipc1                20  3  20  all  1000    1e-5   0.01  zca        5000        representative  yes    yes     yes      yes
cifar100-ipc1-script         40  3  15  all  100     1e-5   0.01  normalise  5000        representative  yes    yes     no       yes
cifar100-ipc10               20  2  30  128  1000    1e-5   0.01  normalise  5000        representative  yes    yes     no       yes
cifar100-ipc50               80  2  40  700  1000    1e-5   0.01  normalise  5000        representative  no     no      no       yes
cifar10-ipc10                30  2  20  all  100     1e-6   0.01  zca        5000        real            yes    yes     yes      yes
cifar10-ipc10-plain-experts  30  2  20  all  1000    1e-5   0.01  zca        5000        real            yes    yes     yes      no
tiny-imagenet-ipc1           10  2  10  all  1e4     1e-4   0.01  normalise  5000        real            yes    yes     no       yes
"""  # noqa: E501
TABLES = {"mtt": (mtt, MTT), "tesla": (tesla, TESLA), "ftd": (ftd, FTD), "datm": (datm, DATM), "ast": (ast, AST)}


CELLS = [(name, row) for name, (_, text) in TABLES.items() for row in rows(text)]


def _presets(text: str) -> list[str]:
    return [row["preset"] for row in rows(text)]


def _shared(config: Any) -> dict[str, Any]:
    """The columns that every table has, but T+."""
    return {
        "N": config.student_steps,
        "M": config.expert_epochs,
        "b": config.batch,
        "lr_img": config.lr_images,
        "lr_lr": config.lr_step_size,
        "beta": config.step_size,
        "pixels": config.preprocessing,
        "iterations": config.steps,
    }


def _own(name: str, config: Any) -> dict[str, Any]:
    """The columns of one method."""
    if name == "datm":
        return {
            "T+": config.last_start,
            "T-": config.lowest_start,
            "T": config.first_start if config.sequential else None,
            "R": config.rise if config.sequential else None,
            "lr_y": config.lr_labels,
            "threshold": config.threshold,
            "initial": config.initial,
        }
    found = {"T+": config.start_epochs}
    if name == "tesla":
        found |= {"experts": config.experts, "soft": config.soft_labels}
    if name == "ftd":
        found |= {"alpha": config.alpha, "ema": config.ema_decay}
    if name == "ast":
        found |= {
            "initial": config.initial,
            "noise": config.perturbation == 1.0,
            "middle": config.intermediate == 1.0,
            "balance": config.balance,
            "smooth": (config.clipping_epochs, config.gradient_penalty) == (10, 2.0),
        }
    return found


@pytest.mark.parametrize(("name", "row"), CELLS, ids=[f"{name}-{row['preset']}" for name, row in CELLS])
def test_a_preset_is_its_row(name: str, row: dict[str, str]) -> None:
    config = TABLES[name][0].PRESETS[row["preset"]].config
    assert not differences(row, _shared(config) | _own(name, config), {"preset"})


@pytest.mark.parametrize("name", TABLES)
def test_every_preset_but_that_of_small_machines_has_a_row(name: str) -> None:
    method, text = TABLES[name]
    assert set(method.PRESETS) == {*_presets(text), "cpu"}


@pytest.mark.parametrize("name", TABLES)
def test_no_preset_switches_anything_else(name: str) -> None:
    """What a table has no column for is the method's default, but for FYI's row: its two switches, TESLA's gradient."""
    method, text = TABLES[name]
    columns = {"student_steps", "expert_epochs", "batch", "lr_images", "lr_step_size", "step_size", "preprocessing"}
    columns |= {"steps", "start_epochs", "experts", "soft_labels", "alpha", "ema_decay", "lowest_start", "first_start"}
    columns |= {"last_start", "rise", "sequential", "lr_labels", "threshold", "initial", "perturbation", "intermediate"}
    columns |= {"balance", "clipping_epochs", "gradient_penalty"}
    default = vars(method.Config())
    for preset in _presets(text):
        config = vars(method.PRESETS[preset].config)
        others = {field: value for field, value in config.items() if value != default[field] and field not in columns}
        fyi = {"mirror": True, "flip_first": True, "engine": "tesla"}
        assert others == (fyi if preset.startswith("fyi") else {})


def test_the_window_of_a_preset_is_where_the_authors_say_it_is() -> None:
    assert datm.window_of(datm.PRESETS["cifar10-ipc10"].config).upper(500) == 15
    assert datm.window_of(datm.PRESETS["cifar100-ipc50"].config).upper(0) == 70


@pytest.mark.parametrize("name", TABLES)
def test_what_is_the_same_in_every_published_cell(name: str) -> None:
    """A hundred experts, momentum 0.5 of images and step size; DATM's experts train 100 epochs and AST's 50."""
    method, text = TABLES[name]
    configs = [method.PRESETS[preset].config for preset in _presets(text)]
    assert {config.experts for config in configs} - {50} == {100}  # 50 is TESLA's on ImageNet-1K, of its table
    assert {config.momentum for config in configs} == {0.5}
    if name == "datm":
        assert {(config.epochs, config.momentum_labels) for config in configs} == {(100, 0.9)}
    if name == "ast":
        assert {(config.epochs, config.inner_momentum) for config in configs} == {(50, 0.9)}


def test_every_flat_expert_has_the_published_radius() -> None:
    for method in (ftd, datm):
        assert {preset.config.rho for preset in method.PRESETS.values()} == {0.01}
