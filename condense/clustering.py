"""K-means in a feature space, and the real images that stand for its centres.

Lloyd, "Least Squares Quantization in PCM", IEEE Trans. Information Theory 28(2), 1982; seeding by Arthur &
Vassilvitskii, "k-means++", SODA 2007.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cluster(features: Tensor, count: int, restarts: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from k-means++ seeds.  features: (n, D).  Returns centres (count, D) float64.

    restarts: seedings tried; the clustering with the least squared error is kept.
    """
    from sklearn.cluster import KMeans

    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    fitted = KMeans(n_clusters=count, n_init=restarts, random_state=seed).fit(features.double().numpy())
    return torch.from_numpy(fitted.cluster_centers_)


def nearest_to_centres(features: Tensor, centres: Tensor) -> Tensor:
    """For each centre in turn the nearest row that is still free.  (n, D), (count, D) -> (count,)."""
    distance = torch.cdist(centres.double(), features.double())  # (count, n)
    chosen: list[int] = []
    for row in distance:
        row[chosen] = torch.inf
        chosen.append(int(row.argmin()))
    return torch.tensor(chosen)
