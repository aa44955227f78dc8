"""One signature for every way to differentiate through a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from condense.errors import BadInput, UnknownName
from condense.unroll import full, textbook
from condense.unroll.adjoint import ConstantMemoryUnroll, Plan
from condense.unroll.compiled import compiled_step
from condense.unroll.inner import InnerLoop, Outer, Segment, check
from condense.unroll.steps import DoubleBackward, Step

EngineName = Literal["adjoint", "unroll", "higher", "tesla"]
ENGINES: tuple[EngineName, ...] = ("adjoint", "unroll", "higher", "tesla")
WITH_STEPS = ("adjoint", "tesla")  # those made of single inner steps, which can be compiled or keep graphs


@dataclass(frozen=True)
class Engine:
    """How an unrolled training is differentiated.

    Attributes:
        name: "adjoint", the exact gradient in memory that does not grow with the steps' graphs; "unroll", the same
            gradient with all graphs alive; "higher", the same by the `higher` library, the textbook form; "tesla",
            the approximation of TESLA (Cui et al., ICML 2023, https://arxiv.org/abs/2211.10586), which holds every
            theta_k constant when it differentiates step k, and so drops how earlier steps move later gradients.
        bfloat16: convolutions and matrix products in bfloat16; norms, loss, parameters and residuals are not.
        compile: build machine code for the steps of "adjoint" and "tesla", once for each architecture.
        graph_bytes: memory for graphs that "adjoint" and "tesla" keep instead of building them twice: a quarter less
            work at most. Compiled steps keep none.

    What TESLA drops is of first order in steps * step size * curvature. Cosine with the exact gradient of the images,
    and the ratio of their norms (benchmarks/tesla_bias.py: digits, IPC 1, ConvNet of width 16, from the expert's epoch
    20): 0.97 and 1.24 for 10 steps of 0.01; 0.81 and 1.45 for 50; 0.67 and 1.91 for 50 steps of 0.05. The step size's
    gradient came out 1.10, 1.09 and 1.51 times too large.

    Raises:
        UnknownName: for another name.
        BadInput: for an engine that cannot be compiled.
    """

    name: str = "adjoint"
    bfloat16: bool = False
    compile: bool = False
    graph_bytes: int = 0

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise UnknownName("unrolling engine", self.name, ENGINES)
        if self.compile and self.name not in WITH_STEPS:
            raise BadInput(f"the engine {self.name!r} keeps graphs of autograd and is not compiled; set compile=False")
        if self.graph_bytes < 0 or (self.graph_bytes and (self.compile or self.name not in WITH_STEPS)):
            raise BadInput(
                "graph_bytes is memory for the graphs of an uncompiled 'adjoint' or 'tesla', 0 or more; "
                f"got {self.graph_bytes} for {self.name!r}{' compiled' if self.compile else ''}"
            )


def outer_loss(
    inner: InnerLoop,
    segment: Segment,
    images: Tensor,
    labels: Tensor,
    step_size: Tensor,
    engine: Engine | None = None,
) -> Outer:
    """Trains the student on the synthetic set and measures how far from the expert it arrives (MTT, eq. 2).

    `loss.backward()` gives the gradients of images (M, C, H, W), of labels where they are probabilities (M, K), and of
    the scalar step size. Logits, or a step size that is kept positive, are the caller's: give `logits.softmax(1)` or
    `log_step.exp()`, and backward goes on into them. With "adjoint" and "tesla" the costly half of the work happens
    in backward: a loss that is not wanted costs a third.

    Args:
        images, labels: the synthetic set; labels are classes (M,) int64 or probabilities (M, K).
        engine: by default the adjoint.

    Raises:
        BadInput: when the parts do not fit each other, or TESLA is asked for momentum or several matches, for which
            its approximation is not defined.
    """
    engine = engine or Engine()
    check(inner, segment, images, labels, step_size)
    if engine.name == "unroll":
        return full.outer_loss(inner, segment, images, labels, step_size, engine.bfloat16)
    if engine.name == "higher":
        return textbook.outer_loss(inner, segment, images, labels, step_size, engine.bfloat16)
    exact = engine.name == "adjoint"
    if not exact and (inner.momentum or [match.after for match in segment.matches] != [len(inner.batches)]):
        raise BadInput("tesla knows plain descent and one match after the last step; use the engine 'adjoint'")
    plan = Plan(inner, segment, _step(inner, engine, images), curvature=exact)
    return Outer(*ConstantMemoryUnroll.apply(images, labels, step_size, plan))


def _step(inner: InnerLoop, engine: Engine, images: Tensor) -> Step:
    if engine.compile:
        return compiled_step(inner.network, engine.bfloat16, inner.largest, images[:1])
    return DoubleBackward(inner.network, engine.bfloat16, engine.graph_bytes)
