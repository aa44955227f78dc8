"""Chooses a setting of a method on held-out training images, before anything is measured on the test split.

    python benchmarks/pilot.py dm cifar10 --ipc 10 --vary lr_images 1 5 --set network=convnet:width=32 --set steps=600
    python benchmarks/pilot.py sre2l digits --preset cpu --vary initial noise real

For the rate of FRePo on CIFAR-10 (benchmarks/frepo_grid.py), with the preset of its table:

    python benchmarks/pilot.py frepo cifar10 --ipc 10 --preset published-cifar10 --vary lr 0.001 0.003 0.01 \\
        --recipe hard-narrow --set network=convnet:width=32,growth=2,norm=batch,norm_at=input --set steps=1000 \\
        --set real_batch=256 --threads 1 --out results/benchmarks/pilot.json
    python benchmarks/pilot.py frepo cifar10 --ipc 1 --preset published-cifar10 --vary lr 0.001 0.003 0.01 \\
        --recipe hard-narrow --set network=convnet:width=32,growth=2,norm=batch,norm_at=input --set steps=4000 \\
        --set real_batch=256 --threads 1 --out results/benchmarks/pilot.json

Each value distils nine tenths of the training split with each of --seeds; two narrow ConvNets are trained on each set
with the recipe of the matching papers, 300 epochs, and scored on the tenth that was held out. --recipe names a protocol
whose recipe is used instead, with the classes of soft labels where that is what it trains on; the labels remain the
set's own, so that nobody has seen the tenth. Methods whose labels are values of a regression, as FRePo's, need it:
the default trains with cross-entropy. Prints one line for each value. --out adds what was found to a JSON file, and
skips what is there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from processes import run_as_script

from condense import allocator, files

NETWORKS, EPOCHS, NETWORK = 2, 300, "convnet-d3:width=32"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("method")
    options.add_argument("dataset")
    options.add_argument("--ipc", type=int, default=10)
    options.add_argument("--vary", nargs="+", required=True, metavar=("FIELD", "VALUE"))
    options.add_argument("--preset", help="whose settings are varied; the default is the paper's main setting")
    options.add_argument("--recipe", metavar="PROTOCOL", help="train by the recipe of this protocol")
    options.add_argument("--set", action="append", default=[], dest="overrides", metavar="FIELD=VALUE")
    options.add_argument("--seeds", type=int, default=1, help="distillation seeds")
    options.add_argument("--compile", action="store_true", help="compile steps where that is repaid")
    options.add_argument("--threads", type=int)
    options.add_argument("--out", type=Path, metavar="FILE.json")
    given = options.parse_args()
    allocator.prepare(given.threads)
    field, *values = given.vary
    fixed = dict(word.split("=", 1) for word in given.overrides)
    known = files.read_json(given.out) if given.out is not None and given.out.exists() else {}
    for value in values:
        overrides = {**fixed, field: value}
        base = [given.method, given.dataset, *([given.preset] if given.preset else []), f"ipc={given.ipc}"]
        base += [f"recipe={given.recipe}"] if given.recipe else []
        name = " ".join([*base, *(f"{k}={v}" for k, v in overrides.items())])
        found = known.setdefault(name, {})  # distillation seed -> accuracies
        begin = time.perf_counter()
        for seed in range(given.seeds):
            if str(seed) not in found:
                work = (given.method, given.preset, given.dataset, given.ipc)
                found[str(seed)] = held_out_accuracies(*work, overrides, seed, given.compile, given.recipe)
                if given.out is not None:
                    files.write_json(given.out, known)
        means = [statistics.fmean(accuracies) for accuracies in found.values()]
        text = "  ".join(f"{100 * mean:.2f}" for mean in means)
        print(f"{field}={value}  {100 * statistics.fmean(means):.2f} % ({text})  {time.perf_counter() - begin:.0f} s")


def held_out_accuracies(
    method: str,
    preset: str | None,
    dataset: str,
    ipc: int,
    overrides: dict[str, str],
    seed: int,
    compiled: bool,
    protocol: str | None,
) -> list[float]:
    """Fractions of the held-out tenth, one for each network."""
    from condense import data, methods, networks
    from condense.augment import DSA
    from condense.budget import Budget
    from condense.evaluate import protocols
    from condense.evaluate.offers import training_source
    from condense.method import with_overrides
    from condense.run import Run
    from condense.run.randomness import generator
    from condense.training import Recipe, SplitSource, accuracy, train

    kept, held = data.validation_split(data.load(dataset).train)
    plugin = methods.get(method)
    config = with_overrides(method, plugin.config(preset), overrides)
    with tempfile.TemporaryDirectory() as folder, Run(folder, seed=seed, compile=compiled) as run:
        seen = kept if plugin.about.uses_labels else kept.unlabelled()
        made = plugin.distill(seen, Budget(ipc=ipc), config, run)
    view = made.training_view()
    if protocol is None:
        recipe = Recipe.matching(EPOCHS, augment=DSA.for_split(held).spec())
    else:
        rules = protocols.load(protocol)
        recipe = rules.recipe_for(NETWORK, len(made.view()), flips=held.flips)
        view = training_source(view, rules.needs, None)  # on hard labels, the class of the largest
    found = []
    for number in range(NETWORKS):

        def rng(name: str, *ids: int, number: int = number) -> object:
            return generator(number, name, *ids)

        network = networks.build(NETWORK, held.shape, held.n_classes, rng("init"))
        train(network, view, recipe, rng)
        found.append(accuracy(network, SplitSource(held, made.preprocessing)))
    return found


if __name__ == "__main__":
    run_as_script(main)
