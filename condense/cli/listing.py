"""`condense list`: methods, data sets, networks, protocols, distilled sets."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from condense.cli import tables
from condense.cli.commands import KINDS
from condense.errors import BadInput, CondenseError, UnknownName

Facts = dict[str, Any]

_COLUMNS = {
    "methods": ("name", "title", "family", "kind", "presets", "paper"),
    "datasets": ("name", "source", "shape", "classes", "available", "how to get it"),
    "networks": ("name", "summary", "knobs"),
    "protocols": ("name", "version", "track", "tier", "networks", "seeds", "title"),
    "sets": ("name", "method", "dataset", "budget", "images", "bytes"),
}


def listing(arguments: argparse.Namespace) -> int:
    """One line for each thing of the kind asked for."""
    kind = arguments.kind
    if kind not in KINDS:
        raise UnknownName("kind of thing to list", kind, KINDS)
    found = _FACTS[kind](arguments.data_dir)
    if arguments.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    tables.show(_COLUMNS[kind], [[_cell(facts[column]) for column in _COLUMNS[kind]] for facts in found])
    return 0


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _methods(data_dir: Path | None) -> list[Facts]:
    from condense import methods

    found = []
    for name in methods.names():
        try:
            plugin = methods.get(name)
        except BadInput as error:
            # One broken plugin must not hide the others.
            found.append(dict.fromkeys(_COLUMNS["methods"]) | {"name": name, "title": str(error)})
            continue
        about = plugin.about
        found.append(
            {
                "name": name,
                "title": about.title,
                "family": about.family,
                "kind": about.kind,
                "presets": list(plugin.presets),
                "uses_labels": about.uses_labels,
                "selects": about.selects,
                "paper": about.paper,
                "url": about.url,
            }
        )
    return found


def _datasets(data_dir: Path | None) -> list[Facts]:
    from condense import data

    return [
        {
            "name": info.name,
            "source": info.source,
            "shape": "x".join(map(str, info.shape)) if info.shape else "varies",
            "classes": info.n_classes,
            "available": info.available,
            "how to get it": info.how_to_get,
        }
        for info in data.known(data_dir=data_dir)
    ]


def _networks(data_dir: Path | None) -> list[Facts]:
    from condense import networks

    found = [dataclasses.asdict(networks.describe(name)) for name in networks.names()]
    anything = {"name": "torchvision:<name>", "summary": "any classifier of torchvision", "knobs": {}}
    return [*found, anything]


def _protocols(data_dir: Path | None) -> list[Facts]:
    from condense.evaluate import protocols
    from condense.evaluate.transfer import protocol as transfers

    every: list[protocols.Protocol | transfers.TransferProtocol] = [
        *map(protocols.load, protocols.names()),
        *map(transfers.load, transfers.names()),
    ]
    return [
        {
            "name": protocol.name,
            "version": protocol.version,
            "track": protocol.track,
            "tier": protocol.tier,
            "networks": list(dict.fromkeys(entry.network for entry in protocol.panel)),
            "seeds": protocol.seeds,
            "title": protocol.title,
            "digest": protocol.digest,
        }
        for protocol in every
    ]


def _sets(data_dir: Path | None) -> list[Facts]:
    from condense import api
    from condense.budget import Budget
    from condense.distilled import schema

    found = []
    for name in api.sets():
        try:
            described = schema.read(api.SETS / name)
        except CondenseError as error:
            found.append(dict.fromkeys(_COLUMNS["sets"]) | {"name": name, "method": str(error)})
            continue
        made = described.provenance
        found.append(
            {
                "name": name,
                "method": made.get("method"),
                "dataset": made["dataset"]["name"] if "dataset" in made else None,
                "budget": str(Budget(**made["budget"])) if "budget" in made else None,
                "images": described.count,
                "bytes": described.bytes.total,
                "id": described.id,
            }
        )
    return found


_FACTS: dict[str, Callable[[Path | None], list[Facts]]] = {
    "methods": _methods,
    "datasets": _datasets,
    "networks": _networks,
    "protocols": _protocols,
    "sets": _sets,
}
