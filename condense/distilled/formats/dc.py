"""Sets of DC, DSA, DM and the many methods built on their code (Zhao et al., "Dataset Condensation with Gradient
Matching", ICLR 2021): one file `res_<method>_<dataset>_<network>_<ipc>ipc.pt` with the sets of several distillations.

The file is {"data": [[images, labels], ...], "accs_all_exps": ...}, one pair for each repetition; `--seed` says which
is meant. Images are normalised, as that code trains on them; variants that whiten need the space stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from condense.distilled.container import DistilledSet
from condense.distilled.foreign import Request, as_labels, compose, in_space, require_pairs
from condense.distilled.tensor_files import read_plain
from condense.errors import BadInput

SUMMARY = "one res_*.pt file with a set for each repetition, of which --seed takes one; normalised"


def read(request: Request) -> DistilledSet:
    """Imports the set of one repetition.

    Raises:
        BadInput: for a file of another content, or a repetition that it does not hold.
    """
    pairs = _pairs(read_plain(request.source), request)
    if not 0 <= request.seed < len(pairs):
        raise BadInput(
            f"{request.source} holds the sets of {len(pairs)} repetitions, number {request.seed} was asked for; give "
            f"--seed 0 to {len(pairs) - 1}"
        )
    found, values = pairs[request.seed]
    images, space = in_space(found.detach(), request, stated="normalised")
    require_pairs(images, values, request)
    return compose(request, "dc", images, space, as_labels(values.detach(), request))


def _pairs(content: Any, request: Request) -> Sequence[tuple[Tensor, Tensor]]:
    pairs = content.get("data") if isinstance(content, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise BadInput(f"{request.source} has no list 'data' of [images, labels]; is it a res_*.pt of that code?")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
            raise BadInput(f"{request.source}: 'data' holds something else than pairs of images and labels")
    return [(images, labels) for images, labels in pairs]
