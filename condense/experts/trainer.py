"""The one trainer of experts: batches, gradient and the SGD step, on vectors that hold all parameters of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.augment import Augmentation, NoAugmentation
from condense.data import Split
from condense.experts.gradients import Batch, ExpertGradient, flat_gradient
from condense.experts.recipe import ExpertRecipe
from condense.flat import FlatNetwork
from condense.preprocessing import Preprocessing
from condense.run.randomness import generator
from condense.training import Engine, SplitSource, on_device


class Pixels:
    """Training images and labels on the device, preprocessed once where that is the dearer part."""

    def __init__(self, train: Split, space: Preprocessing, device: torch.device, engine: Engine):
        self.source = on_device(SplitSource(train, space), device)
        self.labels = train.labels.to(device)
        self.device = device
        self._dtype = torch.float64 if engine.precision == "float64" else torch.float32
        self._memory = torch.channels_last if engine.channels_last else torch.contiguous_format

    def take(self, rows: Tensor) -> Tensor:
        """Images (B, C, H, W) in the memory order of the engine."""
        return self.ordered(self.source.gather(rows, self.device).to(self._dtype))

    def ordered(self, images: Tensor) -> Tensor:
        """The images in the memory order in which the engine is fast; another one would be compiled for by itself."""
        return images.contiguous(memory_format=self._memory)


class Stream:
    """The batches of one expert: a pure function of (seed, epoch, step), so that there is nothing to save."""

    def __init__(self, pixels: Pixels, recipe: ExpertRecipe, augmentation: Augmentation, seed: int):
        self._pixels = pixels
        self._size = recipe.batch
        self._keeps_clean = recipe.gradient_penalty > 0.0
        self._augment = augmentation
        self._seed = seed
        self._order = (-1, torch.empty(0, dtype=torch.int64))  # of one epoch, on the device

    def __call__(self, epoch: int, step: int) -> Batch:
        """Both are counted from 0; the last batch of an epoch may be short."""
        if self._order[0] != epoch:
            order = torch.randperm(len(self._pixels.source), generator=generator(self._seed, "order", epoch))
            self._order = (epoch, order.to(self._pixels.device))
        rows = self._order[1][step * self._size : (step + 1) * self._size]
        images = clean = self._pixels.take(rows)
        if not isinstance(self._augment, NoAugmentation):
            images = self._pixels.ordered(self._augment(clean, generator(self._seed, "augment", epoch, step)))
        return Batch(images, self._pixels.labels[rows], clean if self._keeps_clean else None)


class Trainer:
    """Trains S experts by a recipe, step by step, all at the same place of their epochs."""

    def __init__(self, network: FlatNetwork, streams: list[Stream], recipe: ExpertRecipe, engine: Engine):
        self._streams = streams
        self._recipe = recipe
        self._gradient = ExpertGradient(network, recipe.gradient_penalty, engine)

    def step(self, parameters: Tensor, momentum: Tensor, epoch: int, step: int) -> None:
        """One step of SGD in place.  parameters: (S, P).  momentum: (S, P), or (S, 0) for a recipe without."""
        recipe = self._recipe
        if step == 0 and recipe.restarts(epoch):
            momentum.zero_()
        direction = self._direction(parameters, epoch, step)
        if recipe.weight_decay:
            direction = direction.add(parameters, alpha=recipe.weight_decay)
        if recipe.momentum:
            # From zeros the first step is the direction itself, as PyTorch's SGD has it.
            direction = momentum.mul_(recipe.momentum).add_(direction)
        parameters.add_(direction, alpha=-recipe.rate(epoch))

    def _direction(self, parameters: Tensor, epoch: int, step: int) -> Tensor:
        recipe = self._recipe
        batches = [stream(epoch, step) for stream in self._streams]  # augmented once, also for two gradients
        weight = parameters.new_full((), recipe.loss_weight(epoch))

        def gradient(at: Tensor) -> Tensor:
            return self._gradient(at, batches, weight)

        if recipe.optimiser == "gsam":
            return flat_gradient(gradient, parameters, recipe.rho, recipe.alpha, recipe.adaptive)
        return gradient(parameters)
