"""What a method module declares, and the check that it does.

A method is a module with
    ABOUT    a `Method`: citation and what it needs and does;
    Config   a frozen dataclass, each field followed by a comment with the paper's symbol and one line of meaning;
    PRESETS  named `Preset`s; "cpu" is the one that runs on two cores in seconds;
    distill(train, budget, config, run) -> DistilledSet;
    cost(train, budget, config) -> Cost, the work it announces before it starts;
    choose(train, budget, config, run) -> Config, only for methods that declare `selects`.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import math
import tokenize
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, Literal

from condense.errors import BadInput, UnknownName


@dataclass(frozen=True)
class AtLeast:
    """Marks the type of a Config field with the values that make sense."""

    lowest: float
    itself: bool = True  # whether that one does, or only what is larger
    highest: float = math.inf

    def allows(self, value: float) -> bool:
        above = value >= self.lowest if self.itself else value > self.lowest
        return math.isfinite(value) and above and value <= self.highest

    def __str__(self) -> str:
        least = f"{'of at least' if self.itself else 'above'} {self.lowest}"
        return least if self.highest == math.inf else f"{least} and at most {self.highest}"


Count = Annotated[int, AtLeast(1)]  # such as the images of a batch
Group = Annotated[int, AtLeast(2)]  # samples that share batch statistics
Positive = Annotated[float, AtLeast(0, itself=False)]  # such as a temperature
Part = Annotated[float, AtLeast(0, itself=False, highest=1)]  # of a whole, such as the weight of a running mean


@dataclass(frozen=True)
class Method:
    """Declared facts of a method; the driver and the contract tests act on them."""

    title: str  # as it stands in tables
    paper: str  # authors, title, venue
    url: str
    family: str  # "selection", "matching", ...
    kind: Literal["synthetic", "selection", "full"]
    uses_labels: bool = True  # False: distill is given an unlabelled split
    seeded: bool = True  # False: every seed gives the same set
    selects: bool = False  # True: `choose` sees 90 % of train and run.validate() owns the rest
    ingredients: Mapping[str, Any] = field(default_factory=dict)  # Config field -> value that switches it


@dataclass(frozen=True)
class Preset:
    """A configuration with the published table it comes from, or the hardware it is meant for."""

    config: Any
    source: str
    distill_seconds: float | None = None  # one thread of a busy machine, IPC 10 of digits; "cpu" presets only
    judge_seconds: float | None = None


@dataclass(frozen=True)
class Cost:
    """The work a configuration announces: multiply-adds count 2 operations; bytes are peaks."""

    operations: float
    memory_bytes: float
    disk_bytes: float = 0.0
    shared_operations: float = 0.0  # of these, for what the cache may hold already: experts, teachers, their answers


@dataclass(frozen=True)
class Plugin:
    """A checked method module."""

    name: str
    about: Method
    config_type: type
    presets: Mapping[str, Preset]
    distill: Callable[..., Any]
    cost: Callable[..., Cost]
    choose: Callable[..., Any] | None
    module: ModuleType

    def config(self, preset: str | None = None) -> Any:
        """The preset's configuration, or the defaults (the paper's main setting) when none is named."""
        if preset is None:
            return self.config_type()
        if preset not in self.presets:
            raise UnknownName(f"preset of {self.name}", preset, self.presets)
        return self.presets[preset].config


def plugin(name: str, module: ModuleType) -> Plugin:
    """Checks a module against the contract above.

    Raises:
        BadInput: naming the module and the part that is missing or of the wrong kind.
    """
    missing = [part for part in ("ABOUT", "Config", "PRESETS", "distill", "cost") if not hasattr(module, part)]
    if missing:
        raise BadInput(f"method {name!r} ({module.__file__}) lacks {', '.join(missing)}; see condense/method.py")
    if not isinstance(module.ABOUT, Method):
        raise BadInput(f"method {name!r}: ABOUT must be a condense.method.Method, got {type(module.ABOUT).__name__}")
    config_type: type = module.Config
    if not getattr(getattr(config_type, "__dataclass_params__", None), "frozen", False):
        raise BadInput(f"method {name!r}: Config must be a frozen dataclass")
    choose = getattr(module, "choose", None)
    if module.ABOUT.selects != (choose is not None):
        raise BadInput(f"method {name!r}: a method has `choose` exactly when it declares selects=True")
    if tuple(inspect.signature(module.distill).parameters) != ("train", "budget", "config", "run"):
        raise BadInput(f"method {name!r}: the signature must be distill(train, budget, config, run)")
    return Plugin(name, module.ABOUT, config_type, dict(module.PRESETS), module.distill, module.cost, choose, module)


def with_overrides(name: str, config: Any, overrides: Mapping[str, Any]) -> Any:
    """A configuration with some fields replaced; text, as it comes from a command line, is read as the field's type.

    Raises:
        UnknownName: for a field that the method does not have.
        BadInput: for a value of the wrong type, or a number that is not finite, or negative where the default is not.
    """
    from pydantic import TypeAdapter, ValidationError

    types, marked = (typing.get_type_hints(type(config), include_extras=extras) for extras in (False, True))
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    changes = {}
    for field_name, value in overrides.items():
        if field_name not in types:
            raise UnknownName(f"field of {name}", field_name, types)
        try:
            changes[field_name] = TypeAdapter(types[field_name]).validate_python(_plain_text(value))
        except ValidationError as error:
            expected = _type_name(types[field_name])
            reason = error.errors()[0]["msg"]
            raise BadInput(f"{name}: {field_name} must be {expected}, got {value!r} ({reason})") from None
        lowest = _lowest(marked[field_name], defaults[field_name])
        if isinstance(changes[field_name], int | float) and not lowest.allows(changes[field_name]):
            raise BadInput(f"{name}: {field_name} must be a finite number {lowest}, got {value!r}")
    return dataclasses.replace(config, **changes)


def _lowest(annotation: Any, default: Any) -> AtLeast:
    """Counts, sizes, rates and weights are not negative; a field with a negative default is none of them."""
    options = (annotation, *typing.get_args(annotation))  # the mark may be on one side of `Count | None`
    found = [mark for option in options for mark in getattr(option, "__metadata__", ())]
    marks = [mark for mark in found if isinstance(mark, AtLeast)]
    signed = isinstance(default, int | float) and default < 0
    return marks[0] if marks else AtLeast(-math.inf if signed else 0)


def _plain_text(value: Any) -> Any:
    return None if value == "none" else value


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))


def field_comments(config_type: type) -> dict[str, str]:
    """The comment behind each field of a Config, which is its one-line documentation."""
    tokens = tokenize.generate_tokens(io.StringIO(inspect.getsource(config_type)).readline)
    names = {entry.name for entry in dataclasses.fields(config_type)}
    comments: dict[str, str] = {}
    current = None
    at_line_start = False
    for token in tokens:
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL):
            at_line_start = True
            continue
        if token.type == tokenize.NAME and at_line_start and token.string in names:
            current = token.string
        elif token.type == tokenize.COMMENT and current is not None and token.line.strip() != token.string:
            comments[current] = token.string.lstrip("# ").strip()
            current = None
        at_line_start = False
    return comments
