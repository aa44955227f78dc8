"""What is published about the data sets known by name: shape, statistics, licence, and where they are described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from condense.data.statistics import Channels

_DIGITS = tuple(str(digit) for digit in range(10))
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_NONE_STATED = "none stated by the authors"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


# Identifiers that the Hugging Face Hub knows; a card with another word is refused there.
_ON_THE_HUB = {"CC BY 4.0": "cc-by-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0", "CC BY-SA 4.0": "cc-by-sa-4.0", "MIT": "mit"}


def hub_licence(licence: str | None) -> str:
    """What a card says of a licence to the Hub: its identifier there, or "unknown"."""
    return _ON_THE_HUB.get(licence or "", "unknown")


@dataclass(frozen=True)
class Facts:
    """Facts of one data set; `shape` is None where the images differ in size, so that the name needs @size."""

    shape: tuple[int, int, int] | None
    n_classes: int
    homepage: str
    licence: str
    flips: bool = True
    mean: Channels | None = None  # None: computed on the training split
    std: Channels | None = None
    classes: tuple[str, ...] | None = None  # for sources that carry no names of their own


# Mean and standard deviation are the ones of the dataset-condensation code base (DC, DSA, DM), which the field reports
# with. Two traps: the CIFAR-10 deviations are means of per-image deviations, smaller than those over all pixels
# (0.2470, 0.2435, 0.2616); and the code of the trajectory-matching papers uses the CIFAR-10 numbers for CIFAR-100 too.
FACTS: Mapping[str, Facts] = {
    "digits": Facts(
        (1, 8, 8), 10, "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "CC BY 4.0", flips=False, classes=_DIGITS,
    ),
    "cifar10": Facts(
        (3, 32, 32), 10, "https://www.cs.toronto.edu/~kriz/cifar.html", _NONE_STATED,
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), classes=_CIFAR10,
    ),
    "cifar100": Facts(
        (3, 32, 32), 100, "https://www.cs.toronto.edu/~kriz/cifar.html", _NONE_STATED,
        mean=(0.5071, 0.4866, 0.4409), std=(0.2673, 0.2564, 0.2762),
    ),
    "mnist": Facts(
        (1, 28, 28), 10, "http://yann.lecun.com/exdb/mnist/", "CC BY-SA 3.0", flips=False,
        mean=(0.1307,), std=(0.3081,), classes=_DIGITS,
    ),
    "fashion-mnist": Facts(
        (1, 28, 28), 10, "https://github.com/zalandoresearch/fashion-mnist", "MIT",
        mean=(0.2861,), std=(0.3530,), classes=_FASHION,
    ),
    "kmnist": Facts(
        (1, 28, 28), 10, "http://codh.rois.ac.jp/kmnist/", "CC BY-SA 4.0", flips=False, classes=_KUZUSHIJI,
    ),
    "usps": Facts(
        (1, 16, 16), 10, "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps", _NONE_STATED,
        flips=False, classes=_DIGITS,
    ),
    "svhn": Facts(
        (3, 32, 32), 10, "http://ufldl.stanford.edu/housenumbers/", "non-commercial use only", flips=False,
        mean=(0.4377, 0.4438, 0.4728), std=(0.1980, 0.2010, 0.1970), classes=_DIGITS,
    ),
    "stl10": Facts((3, 96, 96), 10, "https://cs.stanford.edu/~acoates/stl10/", _NONE_STATED),
    "tiny-imagenet": Facts(
        (3, 64, 64), 200, "https://www.kaggle.com/c/tiny-imagenet", "non-commercial research, as ImageNet",
        mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
    ),
    "imagenet": Facts(
        None, 1000, "https://www.image-net.org/", "non-commercial research",
        mean=_IMAGENET_MEAN, std=_IMAGENET_STD,
    ),
    "food101": Facts(
        None, 101, "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/", "see the homepage",
    ),
    "flowers102": Facts(None, 102, "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", "see the homepage"),
    "oxford-pets": Facts(None, 37, "https://www.robots.ox.ac.uk/~vgg/data/pets/", "CC BY-SA 4.0"),
    "fgvc-aircraft": Facts(
        None, 100, "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/", "non-commercial research",
    ),
    "stanford-cars": Facts(
        None, 196, "http://ai.stanford.edu/~jkrause/cars/car_dataset.html", "non-commercial research",
    ),
    "cub200": Facts(None, 200, "https://www.vision.caltech.edu/datasets/cub_200_2011/", "non-commercial research"),
    "stanford-dogs": Facts(
        None, 120, "http://vision.stanford.edu/aditya86/ImageNetDogs/", "non-commercial research, as ImageNet",
    ),
    "dtd": Facts(None, 47, "https://www.robots.ox.ac.uk/~vgg/data/dtd/", "research purposes"),
}  # fmt: skip

UNKNOWN = Facts(None, 0, "", "unknown: the owner of the files decides")


def facts_of(name: str, n_classes: int, channels: int) -> Facts:
    """The facts of a known name, or `UNKNOWN` when data of that name has other classes or channels than published."""
    facts = FACTS.get(name, UNKNOWN)
    if facts.n_classes != n_classes or (facts.mean is not None and len(facts.mean) != channels):
        return UNKNOWN
    return facts
