"""Transfer: networks that start from a set, from nothing, or from all images, used on other data."""

from __future__ import annotations
