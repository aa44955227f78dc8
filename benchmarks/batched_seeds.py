"""Do networks trained all at once (vmap) score as networks trained one at a time?

    python benchmarks/batched_seeds.py --out results/benchmarks/batched_seeds.json
        [--dataset cifar10] [--network convnet-d3:width=32] [--epochs 1000] [--seeds 10]

In float64 the two engines agree to 1e-9 after 20 steps (a test holds that). In float32 they differ in the order of
summation, which a long training amplifies, so what can be asked of them is the same distribution of accuracies: the
95 % interval of the paired difference should contain 0 and be narrower than one point to each side.
"""

from __future__ import annotations

import pairing
from processes import run_as_script

from condense.training import Engine


def main() -> None:
    options = pairing.arguments(__doc__)
    options.add_argument("--together", type=int, default=5, help="seeds in one batched computation")
    given = options.parse_args()
    batched = pairing.Variant("batched", Engine("batched"), together=given.together)
    pairing.compare(given, pairing.Variant("sequential", Engine()), batched, bound=1.0)


if __name__ == "__main__":
    run_as_script(main)
