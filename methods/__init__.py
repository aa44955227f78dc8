"""Distillation methods, one readable file each."""

from __future__ import annotations

if __name__ == "methods":
    raise ImportError("import condense.methods: the bare name 'methods' may belong to another package")
