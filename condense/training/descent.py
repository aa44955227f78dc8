"""Training: the loop over steps, shared by both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from condense.errors import BadInput, Diverged
from condense.training.batched import BatchedStep
from condense.training.batches import Batches
from condense.training.engines import Engine, choose
from condense.training.optimisers import build_optimiser, restart, set_rate
from condense.training.recipe import Recipe
from condense.training.sequential import SequentialStep, private_randomness, seed_globally
from condense.training.sources import Rng, Source, on_device

if TYPE_CHECKING:
    from condense.run import Run

# Looking at a loss waits for the device, so divergence is looked for every so many steps and after the last one.
_CHECK_EVERY = 50

OnStep = Callable[[int, int, Tensor], None]  # (epoch, step, detached loss, or losses (S,)), after the optimiser's step


def train(
    network: nn.Module,
    source: Source,
    recipe: Recipe,
    rng: Rng,
    *,
    engine: Engine | None = None,
    run: Run | None = None,
    phase: str = "train",
    on_step: OnStep | None = None,
) -> None:
    """Trains a network in place, on its own device.

    Two calls with equal arguments give equal bits. With a run, network and optimiser are checkpointed under the name
    `phase`, and a training that was killed goes on where it stood, bit for bit.

    Args:
        source: images and labels.
        rng: rng(name, *ids) -> CPU generator; asked for "order", "augment", "mix" and "dropout".
        engine: by default the one that `choose` names for this much work.

    Raises:
        BadInput: for an empty source, or labels that the recipe's loss cannot use.
        Diverged: when the loss or a parameter is not finite.
    """
    device = next(network.parameters()).device
    batches = Batches(on_device(source, device), recipe, rng, device)
    engine = engine or choose(recipe, network, len(source), device, shape=batches.shape)
    _place(network, recipe, engine)
    network.train()
    optimiser = build_optimiser((p for p in network.parameters() if p.requires_grad), recipe)
    compute = SequentialStep(network, recipe.loss, engine)
    steps: Iterable[int] = range(batches.steps)
    if run is not None:
        steps = run.loop(phase, batches.steps, run.state(network=network, optimiser=optimiser))

    def gradient(epoch: int, step: int) -> Tensor:
        seed_globally(rng("dropout", epoch, step).initial_seed(), device)
        return compute(batches(epoch, step))

    with private_randomness(device):
        _descend(steps, recipe, batches, optimiser, gradient, _observer(run, on_step))
    _check_parameters(network.parameters())


def train_seeds(
    build: Callable[[torch.Generator], nn.Module],
    source: Source,
    recipe: Recipe,
    rngs: Sequence[Rng],
    *,
    engine: Engine | None = None,
    run: Run | None = None,
    on_step: OnStep | None = None,
) -> list[nn.Module]:
    """Trains one network per seed, each initialised from its rng("init"); raises as `train`.

    The draws of a seed are those that `train` makes with its rng, whichever engine computes. With a run, trainings are
    checkpointed as phases "train-0" and so on, or all together as "train".
    """
    networks = [build(rng("init")) for rng in rngs]
    if not networks:
        return []
    device = next(networks[0].parameters()).device
    source = on_device(source, device)
    first = Batches(source, recipe, rngs[0], device)
    engine = engine or choose(recipe, networks[0], len(source), device, shape=first.shape, seeds=len(rngs))
    if engine.name == "sequential":
        for number, (network, rng) in enumerate(zip(networks, rngs, strict=True)):
            train(network, source, recipe, rng, engine=engine, run=run, phase=f"train-{number}", on_step=on_step)
        return networks
    for network in networks:
        _place(network, recipe, engine)
        network.train()
    compute = BatchedStep(networks, recipe.loss, engine)
    streams = [Batches(source, recipe, rng, device) for rng in rngs]
    optimiser = build_optimiser(compute.parameters.values(), recipe, stacked=True)

    def gradient(epoch: int, step: int) -> Tensor:
        return compute([batches(epoch, step) for batches in streams])

    steps: Iterable[int] = range(first.steps)
    if run is not None:
        state = run.state(parameters=compute.parameters, buffers=compute.buffers, optimiser=optimiser)
        steps = run.loop("train", first.steps, state)
    _descend(steps, recipe, first, optimiser, gradient, on_step)
    compute.write_back()
    for network in networks:
        _check_parameters(network.parameters())
    return networks


def _place(network: nn.Module, recipe: Recipe, engine: Engine) -> None:
    if engine.precision != recipe.precision:
        raise BadInput(
            f"the recipe asks for {recipe.precision}, the engine computes in {engine.precision}; use equal precisions"
        )
    if recipe.precision == "float64":
        network.double()
    network.to(memory_format=torch.channels_last if engine.channels_last else torch.contiguous_format)  # type: ignore[call-overload]


def _descend(
    steps: Iterable[int],
    recipe: Recipe,
    batches: Batches,
    optimiser: Optimizer,
    gradient: Callable[[int, int], Tensor],
    observe: OnStep | None,
) -> None:
    schedule, steps_per_epoch = recipe.schedule, batches.steps_per_epoch
    passes = batches.steps / steps_per_epoch
    for index in steps:
        epoch, step = divmod(index, steps_per_epoch)
        if step == 0 and schedule.restarts(epoch):
            restart(optimiser)
        set_rate(optimiser, recipe.lr * schedule.multiplier(epoch, step, steps_per_epoch, passes))
        losses = gradient(epoch, step)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if observe is not None:
            observe(epoch, step, losses)
        if index % _CHECK_EVERY == 0 or index == batches.steps - 1:
            _check_losses(losses, epoch, step)


def _observer(run: Run | None, on_step: OnStep | None) -> OnStep | None:
    if run is None:
        return on_step

    def observe(epoch: int, step: int, loss: Tensor) -> None:
        run.log(loss=loss)
        if on_step is not None:
            on_step(epoch, step, loss)

    return observe


def _check_losses(losses: Tensor, epoch: int, step: int) -> None:
    if not bool(torch.isfinite(losses).all()):
        values = ", ".join(f"{value:g}" for value in losses.reshape(-1).tolist())
        raise Diverged(
            f"training diverged: the loss is {values} in epoch {epoch}, step {step}; lower the learning rate"
        )


def _check_parameters(parameters: Iterable[Tensor]) -> None:
    if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
        raise Diverged("training diverged: the last step left parameters that are not finite; lower the learning rate")
