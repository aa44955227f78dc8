"""A rehearsal of ImageNet-1K's scale on two cores: many classes, labels of every epoch on disk, memory that stays flat.

    python benchmarks/scale_rehearsal.py [--classes 1000] [--ipc 10] [--epochs 300] [--threads 2] [--out FILE.json]
    python benchmarks/scale_rehearsal.py --classes 20 --ipc 4 --epochs 6        to try it out

Before anything starts it prints what ImageNet-1K at IPC 50 would cost, beside what is published. Then it writes an
ImageFolder of noisy colours at 64 pixels (as many training images of each class as are recovered, at least five, and
one test image) and goes through the work, every stage in a process of its own whose peak memory is measured:

    teacher   a narrow ConvNet is trained, written to a file and read from there as a foreign teacher is
    recover   images of every class are recovered from it, the blocks shared by two worker processes
    labels    these images get that teacher's answers for regions of every epoch, streamed to disk
    resume    the same again, killed in the middle and continued: every file must have the digest that it had unbroken
    judge     one epoch of judging under a protocol that replays the labels

It ends with an error when a stage needs more than 4 GiB, or an estimate is far from what is published. The labels are
those of ImageNet-1K at IPC 10: 1,000 classes x 10 images x 300 epochs x 1,000 logits x 2 bytes = 6.0 GB, 20 MB for each
epoch. Held in memory they would be 5.6 GiB, so that less than 4 GiB means that they are not; a smaller size, which
shows nothing of that, says so. The second labelling takes the place of the first, so that 6 GB of disk are enough.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import recovery_at_scale
from processes import machine_facts, peak_bytes, print_result, run_as_script

SIDE, LEAST, TEST = 64, 5, 1
LIMIT = 4 * 2**30
NETWORK = "convnet-d4:norm=batch,width=16"
UPDATES, BATCH = 100, 64  # that a teacher of few classes needs, and images of each
# Yin et al. 2023 as measured by LPLD, arXiv 2410.15919: labels of 300 epochs in half precision for 50 000 images.
PUBLISHED_LABEL_BYTES = 28.33e9
NEAR = (0.9, 1.15)  # of the estimate to that; ours counts logits alone, in whole epochs


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--classes", type=int, default=1000)
    options.add_argument("--ipc", type=int, default=10)
    options.add_argument("--epochs", type=int, default=300, help="of labels")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--out", type=Path)
    options.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)  # how the process calls itself
    given = options.parse_args()
    if given.stage:
        print(json.dumps(measured(STAGES[given.stage], given)))
        return
    expected = recovery_at_scale.expected() | imagenet()
    print(json.dumps({"ImageNet-1K, IPC 50": expected}, indent=1), file=sys.stderr)
    facts = {"classes": given.classes, "ipc": given.ipc, "epochs": given.epochs, "threads": given.threads}
    result: dict[str, Any] = {"machine": machine_facts(), "settings": facts, "imagenet-1k": expected, "stages": {}}
    with tempfile.TemporaryDirectory() as place:
        require_room(Path(place), label_bytes(given))
        write_images(Path(place) / "images", given)
        for stage in STAGES:
            result["stages"][stage] = in_process(stage, given, Path(place))
    result["label_bytes_by_limit"] = round(label_bytes(given) / LIMIT, 3)  # memory shows nothing below 1
    print_result(result, given.out)
    if label_bytes(given) <= LIMIT:
        print("a trial: all labels would fit into the limit, so that memory below it shows nothing", file=sys.stderr)
    largest = max(stage["peak_bytes"] for stage in result["stages"].values())
    if largest > LIMIT:
        raise SystemExit(f"a stage needed {largest / 2**30:.2f} GiB, the limit is {LIMIT / 2**30:g} GiB")


def label_bytes(given: argparse.Namespace) -> int:
    """Of all epochs: an answer is a number of two bytes for each class."""
    return int(given.classes * given.ipc * given.epochs * given.classes * 2)


def require_room(folder: Path, needed: int) -> None:
    """Ends the rehearsal before its work where the labels would fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < 1.2 * needed:
        raise SystemExit(
            f"labels of {needed / 1e9:.1f} GB need more than the {free / 1e9:.1f} GB that are free in {folder}; choose "
            "another TMPDIR, or fewer --epochs"
        )


def imagenet() -> dict[str, Any]:
    """What labels of 300 epochs for ImageNet-1K at IPC 50 take, and how far that is from the published size."""
    from condense import machine, soft_labels

    cost = soft_labels.cost(soft_labels.read("sre2l-imagenet"), ImageNet(), 50 * 1000)  # type: ignore[arg-type]
    ratio = cost.disk_bytes / PUBLISHED_LABEL_BYTES
    if not NEAR[0] <= ratio <= NEAR[1]:
        raise SystemExit(f"the estimate of the labels is {ratio:.2f} times the published size; it is wrong")
    return {
        "label_bytes": cost.disk_bytes,
        "label_bytes_published": PUBLISHED_LABEL_BYTES,
        "ratio": ratio,
        "label_hours_at_least": cost.operations / machine.operations_per_second("cpu") / 3600,
        "memory_bytes": cost.memory_bytes,
    }


class ImageNet:
    """As much of the training split as a cost needs to know."""

    shape = (3, 224, 224)
    n_classes = 1000
    flips = True

    def __len__(self) -> int:
        return 1_281_167


def write_images(folder: Path, given: argparse.Namespace) -> None:
    """Noise around a colour for each class; ten levels of each channel make a thousand of them."""
    from PIL import Image

    draws = np.random.default_rng(0)
    for label in range(given.classes):
        colour = np.array([label % 10, label // 10 % 10, label // 100 % 10]) * 22 + 20
        for part, count in (("train", max(LEAST, given.ipc)), ("test", TEST)):
            target = folder / part / f"class-{label:04d}"
            target.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(draws.normal(colour, 10, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(target / f"{number}.png", compress_level=1)


def in_process(stage: str, given: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Runs one stage in a process of its own and returns what it measured of itself."""
    print(f"{stage} ...", file=sys.stderr)
    done = subprocess.run(
        stage_words(stage, given), cwd=place, env=environment(given), check=True, stdout=subprocess.PIPE
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def stage_words(stage: str, given: argparse.Namespace) -> list[str]:
    numbers = [f"--{name}={getattr(given, name)}" for name in ("classes", "ipc", "epochs", "threads")]
    return [sys.executable, str(Path(__file__).resolve()), "--stage", stage, *numbers]


def environment(given: argparse.Namespace) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(given.threads), "OMP_WAIT_POLICY": "passive"}


def measured(stage: Callable[[argparse.Namespace], dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    """What a stage says of itself, its seconds and its largest resident memory."""
    begin = time.perf_counter()
    facts = stage(given)
    peak = peak_bytes() + facts.get("workers_peak_bytes", 0)
    return {**facts, "seconds": round(time.perf_counter() - begin, 1), "peak_bytes": peak}


def here() -> Any:
    """Where the stages compute: everything under the folder of the rehearsal."""
    from condense import api

    return api.Place(cache_dir=Path("cache"))


def teacher(given: argparse.Namespace) -> dict[str, Any]:
    """A teacher in a file, as one from elsewhere comes."""
    import torch

    from condense import preprocessing, teachers
    from condense.run import Run

    train = here().dataset("images").train
    space = preprocessing.fit("normalise", train)
    epochs = max(5, UPDATES * BATCH // len(train))
    recipe = teachers.recipe("tiny-images", flips=train.flips, epochs=epochs)
    with Run("teacher-run", seed=0, cache_dir="cache") as run:
        made = teachers.train_teacher(train, space, NETWORK, recipe, run)
        torch.save(dict(made.state), "teacher.pt")
        loaded = teachers.load_teacher(f"{NETWORK}@teacher.pt", train, space, run)
    return {"accuracy": loaded.accuracy}


def recover(given: argparse.Namespace) -> dict[str, Any]:
    """Images of every class from that teacher, by two processes."""
    source = here().dataset("images")
    return recovery_at_scale.recover(source, f"{NETWORK}@teacher.pt", given.ipc, given.threads, "recovered")


def labels(given: argparse.Namespace, out: str = "labelled") -> dict[str, Any]:
    """Labels of every epoch for the recovered images."""
    from condense import api, distilled
    from condense.soft_labels import LabelRecipe

    recipe = LabelRecipe("regions", f"{NETWORK}@teacher.pt", epochs=given.epochs, batch=128)
    Path("recipe.json").write_text(json.dumps(recipe.spec()))
    folder = api.relabel("recovered", "recipe.json", dataset="images", out=Path(out), place=here())
    return {"label_bytes": distilled.load(folder).labels.nbytes()}


def resume(given: argparse.Namespace) -> dict[str, Any]:
    """Kills a second labelling once half of its epochs are there, goes on, and compares what both have written."""
    unbroken = digests(Path("labelled"))
    shutil.rmtree("labelled")
    words = [*stage_words("labels", given)]
    process = subprocess.Popen(words, env=environment(given), stdout=subprocess.DEVNULL)
    while len(shards()) < max(1, given.epochs // 2):
        if process.poll() is not None:
            raise SystemExit("the labelling was over before it could be killed; give it more --epochs")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.stat().st_ino for path in shards()}
    labels(given)
    after = {path.stat().st_ino for path in Path("labelled/labels").iterdir()}  # links to the shards
    if not before <= after:
        raise SystemExit(f"{len(before - after)} epochs that were there before the kill were labelled again")
    continued = digests(Path("labelled"))
    if changed := [name for name in unbroken | continued if unbroken.get(name) != continued.get(name)]:
        raise SystemExit(f"the continued labels differ from the unbroken ones: {', '.join(sorted(changed))}")
    return {"files_compared": len(continued), "epochs_before_the_kill": len(before)}


def shards() -> list[Path]:
    """The epochs that a labelling which is not over has written."""
    return list(Path("runs/work").glob("labels-*/stores/labels/[0-9]*.safetensors"))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the images and of every epoch of labels of a set, by file."""
    found = {}
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def judge(given: argparse.Namespace) -> dict[str, Any]:
    """One epoch of a network on the replayed labels."""
    from condense import api
    from condense.evaluate import protocols, records

    plain = protocols.load("sre2l-imagenet").model_dump(mode="json", by_alias=True)
    recipe = plain["recipe"] | {"epochs": 1, "batch": 128}
    changes = {"name": "rehearsal", "recipe": recipe, "panel": [{"network": NETWORK}], "seeds": 1}
    Path("rehearsal-1.json").write_text(json.dumps(plain | changes))
    path = api.score("labelled", "rehearsal-1.json", dataset="images", place=here())
    (cell,) = records.read(path).cells.values()
    if cell.status != "ok":
        raise SystemExit(f"the judge could not train on the labels: {cell.reason}")
    return {"accuracy": cell.accuracy[0]}


STAGES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "teacher": teacher,
    "recover": recover,
    "labels": labels,
    "resume": resume,
    "judge": judge,
}

if __name__ == "__main__":
    run_as_script(main)
