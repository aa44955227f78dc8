"""What `condense distill METHOD --help` says of a method: its settings with units and meaning, and its presets."""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from typing import Any

from condense import method, methods

_WIDTH = 118


def describe(name: str) -> str:
    """The citation, every field of the Config, and the presets as differences from the defaults.

    Raises:
        BadInput: as `condense.methods.get`.
    """
    plugin = methods.get(name)
    comments = method.field_comments(plugin.config_type)
    defaults = plugin.config()
    types = typing.get_type_hints(plugin.config_type)
    fields = [
        (f"{name}={_shown(getattr(defaults, name))}", f"{comments.get(name, '')} [{_words(types[name])}]".lstrip())
        for name in (field.name for field in dataclasses.fields(plugin.config_type))
    ]
    presets = [("(no preset)", "the defaults above: the paper's main setting")]
    for preset_name, preset in plugin.presets.items():
        changes = _changes(preset.config, defaults)
        presets.append((preset_name, f"{preset.source}: {changes or 'the defaults above'}"))
    return "\n".join(
        [
            f"{plugin.about.title}: {plugin.about.paper}",
            plugin.about.url,
            "",
            "settings (--set FIELD=VALUE):",
            *_columns(fields),
            "",
            "presets (--preset NAME):",
            *_columns(presets),
        ]
    )


def _changes(config: Any, defaults: Any) -> str:
    pairs = [
        (field.name, getattr(config, field.name))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(defaults, field.name)
    ]
    return " ".join(f"{name}={_shown(value)}" for name, value in pairs)


def _words(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(str(choice) for choice in typing.get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    widest = max((len(left) for left, _ in rows), default=0)
    indent = " " * (widest + 4)
    return [textwrap.fill(f"  {left:<{widest}}  {right}", _WIDTH, subsequent_indent=indent) for left, right in rows]
