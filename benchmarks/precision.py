"""Do networks trained with bfloat16 convolutions score as networks trained in float32?

    python benchmarks/precision.py --out results/benchmarks/precision.json
        [--dataset cifar10] [--network convnet-d3:width=32] [--epochs 1000] [--seeds 10] [--eager]

bfloat16 may become a default only where the 95 % interval of the paired difference lies inside half a point to each
side, from at least ten pairs. Both sides are compiled, as they are used; --eager saves the compilation of a smoke run.
"""

from __future__ import annotations

import pairing
from processes import run_as_script

from condense.training import Engine


def main() -> None:
    options = pairing.arguments(__doc__)
    options.add_argument("--eager", action="store_true")
    given = options.parse_args()
    variants = [
        pairing.Variant(precision, Engine(compile=not given.eager, channels_last=not given.eager, precision=precision))
        for precision in ("float32", "bfloat16")
    ]
    pairing.compare(given, *variants, bound=0.5)


if __name__ == "__main__":
    run_as_script(main)
