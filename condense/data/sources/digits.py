"""The 1,797 handwritten digits of 8x8 pixels that ship inside scikit-learn, with a fixed split.

Levels 0..16 become bytes by round(255 v / 16), halves up: (255 v + 8) // 16. The split takes of each class the
round(n / 5) images that come first in the order of SHA-256("condense digits test 1:<index>") as the test part;
both parts keep the order of scikit-learn.
"""

from __future__ import annotations

import numpy as np

from condense.data.facts import FACTS
from condense.data.fingerprint import ordering
from condense.data.sources import Contents, Source, array_part

SEED = "condense digits test 1"


def source() -> Source:
    """The digits; a few milliseconds to read, so not cached."""
    return Source("digits", None, _read)


def _read() -> Contents:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = ((bunch.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)  # (1797, 8, 8)
    labels = bunch.target.astype(np.int64)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        rows = np.flatnonzero(labels == label).tolist()
        test[ordering(SEED, rows)[: round(len(rows) / 5)]] = True
    classes = FACTS["digits"].classes
    assert classes is not None
    return Contents(
        array_part(images[~test], labels[~test], "the digits training split"),
        array_part(images[test], labels[test], "the digits test split"),
        classes,
    )
