"""The leaderboard as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from condense.evaluate.leaderboard.grid import Grid
from condense.evaluate.leaderboard.reported import Reported
from condense.evaluate.leaderboard.sections import Section

TEMPLATES = Path(__file__).resolve().parent / "templates"


def html(
    sections: Sequence[Section],
    grids: Mapping[str, Sequence[Grid]],
    pictures: Mapping[str, bytes],
    sources: list[Reported],
) -> str:
    """The page's text.

    grids, pictures: by the section's path; a picture is an SVG and stands in the page itself, below the grids.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    parts = [
        {
            "id": section.path.replace("/", "_"),
            "heading": section.heading,
            "about": section.about,
            "tier": section.warning,
            "claims": [sentence.split("`") for sentence in section.claims],  # every second part is code
            "grids": grids[section.path],
            "path": section.path,
            "picture": base64.b64encode(pictures.get(section.path, b"")).decode(),
        }
        for section in sections
    ]
    return environment.get_template("page.html").render(sections=parts, reported=sources, shade=_shade)


def _shade(share: float) -> str:
    """A light blue that deepens with the share (0 to 1); text on it stays readable."""
    low, high = (247, 251, 255), (146, 197, 229)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(low, high, strict=True))
