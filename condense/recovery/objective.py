"""The loss that images are recovered by: class prediction and batch-norm statistics of one teacher or several.

With teacher i, its vote w_i, and layer l with the batch's mean m_l, variance v_l and the running ones mu_l, s_l:

    L = sum_i w_i (CE(f_i(x), y) + r sum_l a_l (||mu_l - m_l|| + ||s_l - v_l||)),    a_1 = first_multiplier, else 1

Yin et al., "Dreaming to Distill", CVPR 2020, https://arxiv.org/abs/1912.08795, Eq. 4, with the norms and the weight of
the first layer as in SRe2L's code; votes as in CV-DD.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.recovery.observed import Moments, Observed


class Terms(NamedTuple):
    """Scalars; `total` is what is minimised."""

    total: Tensor
    cross_entropy: Tensor  # sum_i w_i CE_i
    statistics: Tensor  # sum_i w_i R_i, before the factor r


def statistics_gap(moments: Sequence[Moments], first_multiplier: float = 10.0) -> Tensor:
    """sum_l a_l (||mu_l - m_l|| + ||s_l - v_l||), Euclidean norms that are not squared.  A scalar."""
    gaps = [
        torch.linalg.vector_norm(layer.running_mean - layer.mean)
        + torch.linalg.vector_norm(layer.running_variance - layer.variance)
        for layer in moments
    ]
    return (first_multiplier - 1) * gaps[0] + torch.stack(gaps).sum()


def terms(teacher: Observed, views: Tensor, labels: Tensor, first_multiplier: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy, a batch mean, and statistics gap of one teacher.  views: (N, C, H, W).  labels: (N,)."""
    answer = teacher(views)
    return F.cross_entropy(answer.logits, labels), statistics_gap(answer.moments, first_multiplier)


class _Functions(NamedTuple):
    """What passes through a teacher."""

    terms: Callable[[Observed, Tensor, Tensor, float], tuple[Tensor, Tensor]]
    moments: Callable[[Observed, Tensor], list[Moments]]
    part: Callable[[Observed, Tensor, Tensor, float, list[Tensor], tuple[Tensor, ...]], tuple[Tensor, Tensor]]

    def each(self, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> _Functions:
        return _Functions(change(self.terms), change(self.moments), change(self.part))


@dataclass(frozen=True)
class Objective:
    """The loss, and its gradient with respect to the views.

    Args:
        teachers: observed, on the device of the views.
        votes: w, one for each teacher.
        statistics_weight: r.
        first_multiplier: a_1.
        compiled: makes a faster function of one, as `run.compiled`; None: functions run as they are.
        chunk: views that are in memory with their maps at a time; None for all. The gradient is the same.
    """

    teachers: Sequence[Observed]
    votes: Sequence[float]
    statistics_weight: float
    first_multiplier: float = 10.0
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    chunk: int | None = None

    _as_run: _Functions = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = _Functions(terms, _moments, _part)
        object.__setattr__(self, "_as_run", written if self.compiled is None else written.each(self.compiled))

    def __call__(self, views: Tensor, labels: Tensor) -> Terms:
        """The terms of views (N, C, H, W) with labels (N,), differentiable; all maps of all teachers stay in memory."""
        parts = [self._as_run.terms(teacher, views, labels, self.first_multiplier) for teacher in self.teachers]
        return self._summed(parts)

    def gradient(self, views: Tensor, labels: Tensor) -> tuple[Terms, Tensor]:
        """The terms, and the gradient (N, C, H, W) of their total.  One teacher's maps are in memory at a time."""
        views = views.detach()
        total = torch.zeros_like(views)
        parts = []
        one = self._in_chunks if self.chunk is not None and self.chunk < len(views) else self._at_once
        for teacher, vote in zip(self.teachers, self.votes, strict=True):
            part, gradient = one(teacher, views, labels)
            parts.append(part)
            total.add_(gradient, alpha=vote)
        return self._summed(parts), total

    def _summed(self, parts: Sequence[tuple[Tensor, Tensor]]) -> Terms:
        entropy = torch.stack([vote * part[0] for vote, part in zip(self.votes, parts, strict=True)]).sum()
        gap = torch.stack([vote * part[1] for vote, part in zip(self.votes, parts, strict=True)]).sum()
        return Terms(entropy + self.statistics_weight * gap, entropy, gap)

    def _at_once(self, teacher: Observed, views: Tensor, labels: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        leaf = views.requires_grad_()
        entropy, gap = self._as_run.terms(teacher, leaf, labels, self.first_multiplier)
        (gradient,) = torch.autograd.grad(entropy + self.statistics_weight * gap, leaf)
        return (entropy.detach(), gap.detach()), gradient

    def _in_chunks(self, teacher: Observed, views: Tensor, labels: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Two passes with the gradient of one.

        In evaluation mode no image changes the maps of another, so the moments of the batch are sums over chunks. The
        first pass adds them up; their gradients g_m and g_v follow from the small vectors alone. In the second pass
        each chunk c of a share p of the batch back-propagates
            p CE_c + p sum_l <g_m, m_c> + <g_v, v_c + (m_c - m)^2>,
        whose gradient is the chunk's part of the whole one.
        """
        assert self.chunk is not None
        pieces = list(zip(views.split(self.chunk), labels.split(self.chunk), strict=True))
        shares = [len(piece) / len(views) for piece, _ in pieces]
        with torch.no_grad():
            whole = _pooled([self._as_run.moments(teacher, piece) for piece, _ in pieces], shares)
        whole = [
            layer._replace(mean=layer.mean.requires_grad_(), variance=layer.variance.requires_grad_())
            for layer in whole
        ]
        gap = statistics_gap(whole, self.first_multiplier)
        wanted = [vector for layer in whole for vector in (layer.mean, layer.variance)]
        slopes = torch.autograd.grad(self.statistics_weight * gap, wanted)
        means = [layer.mean.detach() for layer in whole]

        entropy = torch.zeros((), device=views.device, dtype=views.dtype)
        gradients = []
        for (piece, classes), share in zip(pieces, shares, strict=True):
            leaf = piece.detach().requires_grad_()
            loss, own = self._as_run.part(teacher, leaf, classes, share, means, slopes)
            gradients.append(torch.autograd.grad(loss, leaf)[0])
            entropy += own.detach()
        return (entropy, gap.detach()), torch.cat(gradients)


def _pooled(chunks: Sequence[list[Moments]], shares: Sequence[float]) -> list[Moments]:
    """Moments of the whole batch from those of its chunks."""
    pooled = []
    for layers in zip(*chunks, strict=True):
        mean = sum_of([share * layer.mean for share, layer in zip(shares, layers, strict=True)])
        spread = [layer.variance + (layer.mean - mean).square() for layer in layers]
        variance = sum_of([share * value for share, value in zip(shares, spread, strict=True)])
        pooled.append(layers[0]._replace(mean=mean, variance=variance))
    return pooled


def _moments(teacher: Observed, piece: Tensor) -> list[Moments]:
    """Of one chunk."""
    return teacher(piece).moments


def _part(
    teacher: Observed,
    piece: Tensor,
    classes: Tensor,
    share: float,
    means: list[Tensor],
    slopes: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """p CE_c + p sum_l <g_m, m_c> + <g_v, v_c + (m_c - m)^2> of one chunk, and p CE_c.

    means: m of each layer.  slopes: g_m and g_v of each in turn.
    """
    answer = teacher(piece)
    own = share * F.cross_entropy(answer.logits, classes)
    parts = []
    for layer, mean, of_mean, of_variance in zip(answer.moments, means, slopes[::2], slopes[1::2], strict=True):
        spread = layer.variance + (layer.mean - mean).square()
        parts.append(of_mean @ layer.mean + of_variance @ spread)
    return own + share * torch.stack(parts).sum(), own


def sum_of(values: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape."""
    return torch.stack(tuple(values)).sum(0)
