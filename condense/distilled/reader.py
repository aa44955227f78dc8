from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file


def read(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays by name, with `pixels` in [0, 1] where the preprocessing can be undone, and the set's description."""
    about = json.loads(Path(folder, "set.json").read_text(encoding="utf-8"))
    arrays, space = load_file(Path(folder, "data.safetensors")), about["preprocessing"]
    images = arrays.get("images")  # (M, C, H, W) as stored; a selection of real images has `source_index` instead
    if images is not None and images.dtype == np.uint8:
        arrays["pixels"] = images / np.float32(255)
    elif images is not None and space["kind"] == "identity":
        arrays["pixels"] = images
    elif images is not None and space["kind"] == "normalise":
        arrays["pixels"] = images * np.reshape(space["std"], (1, -1, 1, 1)) + np.reshape(space["mean"], (1, -1, 1, 1))
    elif images is not None and Path(folder, "zca.safetensors").exists():
        zca = load_file(Path(folder, "zca.safetensors"))
        arrays["pixels"] = (images.reshape(len(images), -1) @ zca["unwhiten"] + zca["mean"]).reshape(images.shape)
    return arrays, about
