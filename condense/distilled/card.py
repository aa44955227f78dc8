"""The card of a set: Markdown with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense.data.facts import hub_licence
from condense.errors import BadInput

if TYPE_CHECKING:
    from condense.distilled.container import DistilledSet

_DATA = "data.safetensors"
_READER = Path(__file__).with_name("reader.py")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_PLAIN_SCALAR = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_SPACES = {
    "identity": "pixels in [0, 1], nothing subtracted or scaled",
    "normalise": "per channel, (pixel in [0, 1] - mean) / standard deviation; mean and deviation are in `set.json`",
    "zca": "ZCA-whitened with matrices fitted on the training split; `zca.safetensors` holds them in a self-contained "
    "copy (`condense export SET self-contained TARGET`), otherwise they are fitted again on the training split",
}
_LABELS = {
    "hard": "one class number per image (`labels_hard`)",
    "soft": "{form} over the classes for each image, temperature {temperature:g} (`labels_soft`)",
    "representation": "a target vector of {n_classes} numbers for each image (`targets_repr`), no class: networks are "
    "pre-trained by regression of these vectors and then used on other data (`condense transfer`)",
    "replayed": "replayed: {epochs} epochs of explicit draws and teacher answers ({form}) under `labels/`",
    "teacher": "computed while training by the network `{network}` under `labels/`",
    "committee": "computed while training by {networks} together, an average of {average}, under `labels/`",
    "quantised": "{form} over the classes for each image, quantised as {codec[kind]} (`labels_*`)",
    "regions": "for drawn regions: {epochs} epochs of answers ({form}, kept as {codec[kind]}) under `labels/`; which "
    "regions follows from the seed {regions[seed]}",
}


@dataclass(frozen=True)
class Result:
    """A judged number for the card."""

    protocol: str
    network: str
    accuracy: float  # mean, a fraction
    low: float  # ends of the 95 % interval
    high: float
    runs: int


def render(distilled: DistilledSet, results: Sequence[Result] | None = None) -> str:
    """The card as Markdown; equal sets and results give equal text."""
    parts = [
        header(distilled, results or ()),
        f"# {title(distilled)}",
        _introduction(distilled),
        _USES,
        _structure(distilled),
        _bytes_table(distilled),
        _reading(),
        _creation(distilled),
        _source(distilled),
        _results(results) if results else "",
        _LIMITS,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(distilled: DistilledSet, results: Sequence[Result] = (), *, data_files: str = _DATA) -> str:
    """The front matter as YAML between its rules.  data_files: where the images are."""
    return "---\n" + _yaml(front_matter(distilled, results, data_files=data_files)) + "---"


def front_matter(distilled: DistilledSet, results: Sequence[Result] = (), *, data_files: str = _DATA) -> dict[str, Any]:
    """Fields of a Hugging Face data-set card, and ours under `dd`."""
    made = distilled.provenance
    dataset = made.get("dataset", {})
    method = made.get("method")
    facts = {
        "id": distilled.id,
        "method": method,
        "preset": made.get("preset"),
        "seed": made.get("seed"),
        "budget": made.get("budget"),
        "images": len(distilled),
        "labels": distilled.labels.kind,
        "pixel_space": _space(distilled),
        "bytes": distilled.bytes().total,
        "results": [
            {"protocol": r.protocol, "network": r.network, "accuracy": round(r.accuracy, 4), "runs": r.runs}
            for r in results
        ],
    }
    return {
        "license": hub_licence(made.get("volatile", {}).get("licence")),
        "pretty_name": title(distilled),
        "task_categories": [
            "image-feature-extraction" if distilled.labels.kind == "representation" else "image-classification"
        ],
        "size_categories": [next((name for limit, name in _SIZES if len(distilled) < limit), "n>1M")],
        "annotations_creators": ["machine-generated"],
        "source_datasets": [dataset["name"]] if "name" in dataset else [],
        "tags": ["dataset-distillation", *([method] if method else [])],
        "configs": [{"config_name": "default", "data_files": data_files}],
        "dd": {name: value for name, value in facts.items() if value not in (None, [])},
    }


def title(distilled: DistilledSet) -> str:
    """Method, data set and size."""
    made = distilled.provenance
    method = made.get("title") or made.get("method") or "Distilled set"
    dataset = made.get("dataset", {}).get("name")
    return f"{method} on {dataset}, {_size(distilled)}" if dataset else f"{method}, {_size(distilled)}"


def _size(distilled: DistilledSet) -> str:
    ipc = distilled.provenance.get("budget", {}).get("ipc")
    return f"{ipc} image{'s' * (ipc != 1)} per class" if ipc else f"{len(distilled)} images"


def _space(distilled: DistilledSet) -> str:
    if distilled.images is None or str(distilled.images.dtype) == "torch.uint8":
        return "uint8"
    return distilled.preprocessing.kind


def _introduction(distilled: DistilledSet) -> str:
    stands_for = len(distilled.view())
    more = f", standing for {stands_for:,} (`{distilled.expansion['kind']}`)" if stands_for != len(distilled) else ""
    if distilled.source is not None:
        return (
            f"{len(distilled):,} images{more} selected from a real training split. The set holds their positions, not "
            "the images: whoever uses it needs the data set itself."
        )
    return (
        f"{len(distilled):,} synthetic images{more} that stand in for a real training split.\n\n![preview](preview.png)"
    )


_USES = """## Uses

Training image classifiers quickly: comparing distillation methods, searching architectures or hyper-parameters,
continual learning, teaching.

**Out of scope**: anything that needs the accuracy of the full data; judging fairness or safety of a model; use as an
anonymised release, since synthetic images can resemble the real ones that they were made from."""


def _structure(distilled: DistilledSet) -> str:
    channels, height, width = distilled.shape
    lines = [
        "## Structure",
        "",
        f"- **Images**: {len(distilled):,} of {channels} × {height} × {width}, {_stored_as(distilled)}.",
        f"- **Pixel space of networks**: {_SPACES[distilled.preprocessing.kind]}. Real images go through the same "
        "preprocessing before a network that was trained on this set sees them.",
        f"- **Labels**: {_labels(distilled)}.",
        f"- **Classes** ({len(distilled.classes)}): {', '.join(map(_escape, distilled.classes))}.",
    ]
    if distilled.step_size is not None:
        lines.append(f"- **Learned step size**: {distilled.step_size:.6g} (`lr`).")
    if distilled.extras:
        lines.append(f"- **Extras**: {', '.join(f'`extra.{name}`' for name in distilled.extras)}.")
    return "\n".join(lines)


def _stored_as(distilled: DistilledSet) -> str:
    if distilled.images is None:
        return "kept as `source_index`, positions in the training split"
    kind = str(distilled.images.dtype).removeprefix("torch.")
    return "stored as uint8 pixels" if kind == "uint8" else f"stored as {kind} in the space below"


def _labels(distilled: DistilledSet) -> str:
    spec = distilled.labels.spec()
    return _LABELS[spec["kind"]].format(**spec) if spec["kind"] in _LABELS else f"of the kind `{spec['kind']}`"


def _bytes_table(distilled: DistilledSet) -> str:
    size = distilled.bytes()
    rows = [("images", size.images), ("labels", size.labels), ("extras", size.extras)]
    rows += [("preprocessing", size.preprocessing), ("**total**", size.total)]
    note = "\n\nThe images are counted as the pixels that a user has to keep." if distilled.source is not None else ""
    return _table("## Bytes", ("part", "bytes"), [(name, f"{value:,}") for name, value in rows], "-:") + note


def _reading() -> str:
    return (
        "## Reading it without condense\n\n```python\n"
        + _READER.read_text(encoding="utf-8").strip()
        + '\n```\n\nWith condense: `condense.load("this folder").as_dataset()` is a PyTorch data set, with the '
        "`test_transform` that real images need."
    )


def _creation(distilled: DistilledSet) -> str:
    made = distilled.provenance
    rows = [(name, made[name]) for name in ("method", "title", "preset", "seed", "trained_on") if name in made]
    rows += [(f"budget, {name}", value) for name, value in made.get("budget", {}).items()]
    rows += [(f"config.{name}", value) for name, value in made.get("config", {}).items()]
    rows += [(f"engine.{name}", value) for name, value in made.get("engine", {}).items()]
    rows += [(f"end of {phase}", value) for phase, value in made.get("stops", {}).items()]
    rows += [(f"flag.{name}", value) for name, value in made.get("flags", {}).items() if value]
    if not rows:
        return "## Creation\n\nHow the set was made is not recorded."
    return _table("## Creation", ("field", "value"), [(name, f"`{json.dumps(value)}`") for name, value in rows], "-")


def _source(distilled: DistilledSet) -> str:
    dataset = distilled.provenance.get("dataset", {})
    named = f"The training split of **{dataset['name']}**" if "name" in dataset else "A training split without a record"
    mark = f", fingerprint `{dataset['fingerprint']}`" if "fingerprint" in dataset else ""
    licence = distilled.provenance.get("volatile", {}).get("licence")
    stated = f" Its licence: {licence}." if licence else ""
    terms = "The licence and the terms of that data set hold for what is made from it."
    return f"## Source data\n\n{named}{mark}.{stated} {terms}"


def _results(results: Sequence[Result]) -> str:
    rows = [(r.protocol, r.network, f"{100 * r.accuracy:.1f}", _interval(r), str(r.runs)) for r in results]
    return _table("## Results", ("protocol", "network", "accuracy %", "95 % interval", "runs"), rows, "-")


def _interval(result: Result) -> str:
    # One run shows no spread.
    return f"{100 * result.low:.1f} to {100 * result.high:.1f}" if result.runs > 1 else "-"


_LIMITS = """## Limits

- A distilled set carries the biases of its source and of the networks it was made with; accuracy falls on
  architectures that are unlike those.
- Numbers hold for the protocol that is named beside them. Another augmentation, step size or pixel space can cost many
  points."""


def _table(heading: str, head: Sequence[str], rows: Sequence[Sequence[str]], rule: str) -> str:
    rules = ["-"] + [rule] * (len(head) - 1)
    lines = [heading, "", "| " + " | ".join(head) + " |", "| " + " | ".join(rules) + " |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _escape(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def _yaml(value: Any, indent: str = "") -> str:
    """Block YAML of mappings and lists; every scalar that could be read as anything but itself is quoted as JSON.

    Raises:
        BadInput: for an empty mapping inside a list, which has no block form.
    """
    if isinstance(value, Mapping):
        return "".join(f"{indent}{key}:{_yaml_value(item, indent)}" for key, item in value.items())
    lines = []
    for item in value:
        if isinstance(item, Mapping):
            if not item:
                raise BadInput("a list in the front matter of a card holds an empty mapping")
            block = _yaml(item, indent + "  ")
            lines.append(f"{indent}- {block[len(indent) + 2 :]}")
        else:
            lines.append(f"{indent}- {_scalar(item)}\n")
    return "".join(lines)


def _yaml_value(value: Any, indent: str) -> str:
    if isinstance(value, Mapping) and value:
        return "\n" + _yaml(value, indent + "  ")
    if isinstance(value, list | tuple) and value:
        return "\n" + _yaml(value, indent)
    return f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN_SCALAR.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
