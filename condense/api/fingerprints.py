"""What a request rests on besides its words: the code that a method runs, and the files that its settings name.

Both are known by content. The code of a method is its own file and every module of this package, and of its own one,
that it imports, directly or not, read from the source without running it.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from condense import files
from condense.identity import digest

_OWN = "condense"
_DIGITS = 16  # of the SHA-256 of a file
_BY_CONTENT = re.compile(rf" \(sha256 [0-9a-f]{{{_DIGITS}}}\)")
_STATEMENT = re.compile(r"^[ \t]*(?:from[ \t]+[\w.]+[ \t]+import[ \t]+(?:\([^)]*\)|[^\n(]+)|import[ \t]+[^\n]+)", re.M)
_FOR_TYPES = re.compile(r"^if TYPE_CHECKING:[^\n]*\n(?:[ \t][^\n]*\n|\n)*", re.M)


def code(*modules: ModuleType) -> str:
    """SHA-256 over the source of these modules and of what they import; where it lies does not count.

    A module outside of packages is one file: what it imports from beside itself is not followed.
    """
    packages = {_OWN, *(module.__name__.partition(".")[0] for module in modules)}
    found: dict[str, str] = {}
    waiting = [(module.__name__, Path(module.__file__ or "")) for module in modules]
    # The name of a module that was loaded by its path is made of the path.
    names = {module.__name__: f"given {number}" for number, module in enumerate(modules)}
    while waiting:
        name, path = waiting.pop()
        found[names.get(name, name)], imported = _read(path, _package_of(name, path))
        for other in imported:
            if other.partition(".")[0] in packages and other not in found and other not in names:
                place = _place(other)
                if place is not None:
                    found[other] = ""
                    waiting.append((other, place))
    return digest(found)


def by_content(settings: Any) -> Any:
    """The settings as plain values in which local files are named by what they hold, not by where they lie.

    A file stands as a path, or as `<network>@<path>`, alone or joined by +; "resnet18@/home/me/teacher.pt" becomes
    "resnet18@teacher.pt (sha256 0123456789abcdef)", with the first digits of the file's SHA-256.

    settings: plain values, dataclasses, and containers of these.

    Raises:
        OSError: for a file that may not be read.
    """
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {entry.name: by_content(getattr(settings, entry.name)) for entry in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {name: by_content(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [by_content(value) for value in settings]
    if not isinstance(settings, str | Path):
        return settings
    text = str(settings)
    whole = _named(text)
    return whole if whole != text else "+".join(_named(part) for part in text.split("+"))


def names_a_file(setting: Any) -> bool:
    """Whether `by_content` made this setting of a local file, so that what it says is not where the file lies."""
    return isinstance(setting, str) and _BY_CONTENT.search(setting) is not None


def _named(text: str) -> str:
    head, at, where = text.strip().rpartition("@")
    path, mark, digits = where.partition("#")
    if not at and not Path(path).suffix and "/" not in path:
        return text  # a plain word is no file, whatever lies in the folder
    try:
        place = Path(path).expanduser()
        if not place.is_file():
            return text
    except (OSError, RuntimeError, ValueError):  # no name that a file could have
        return text
    return f"{head}{at}{place.name}{mark}{digits} (sha256 {files.sha256(place)[:_DIGITS]})"


@cache
def _read(path: Path, package: str) -> tuple[str, tuple[str, ...]]:
    """SHA-256 of a source file, and the modules it may import; their packages run first and are among them.

    Read once in a process, as the interpreter does.
    """
    content = path.read_bytes()
    names: dict[str, None] = {}
    for name in imports(content.decode(), package):
        parts = name.split(".")
        names |= {".".join(parts[: end + 1]): None for end in range(len(parts))}
    return hashlib.sha256(content).hexdigest(), tuple(names)


def imports(source: str, package: str) -> Iterator[str]:
    """Names in the import statements of a module at any depth, except where only a type checker looks.

    Only the statements are parsed: parsing all of 150 modules takes a quarter of a second.
    """
    for match in _STATEMENT.finditer(_FOR_TYPES.sub("", source)):
        try:
            (statement,) = ast.parse(match[0].strip()).body
        except (SyntaxError, ValueError):  # a line of prose
            continue
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = package.rsplit(".", statement.level - 1)[0] if statement.level else ""
            home = ".".join(part for part in (base, statement.module or "") if part)
            yield from (f"{home}.{alias.name}" for alias in statement.names)


def _package_of(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@cache
def _place(name: str) -> Path | None:
    """The source of a module of a package that is imported already; None for what is no module."""
    package, *parts = name.split(".")
    for folder in getattr(sys.modules.get(package), "__path__", ()):
        path = Path(folder, *parts)
        for source in (path / "__init__.py", path.with_suffix(".py")) if parts else (path / "__init__.py",):
            if source.is_file():
                return source
    return None
