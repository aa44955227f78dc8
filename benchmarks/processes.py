"""Measurements in processes of their own: a fresh heap, empty compiler caches, and the machine in words."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


def run_as_script(main: Callable[[], int | None]) -> NoReturn:
    """Ends the program with what `main` returns; what whoever started it can mend is one line, and exit code 2.

    A process that `fresh` started has said on its own what is wrong; its exit code is handed on.
    """
    from condense.errors import CondenseError, Diverged

    try:
        sys.exit(main())
    except CondenseError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, Diverged) else 2)
    except subprocess.CalledProcessError as error:
        print(f"{Path(sys.argv[0]).name}: its part `{shlex.join(map(str, error.cmd))}` failed", file=sys.stderr)
        sys.exit(error.returncode)


def fresh(words: list[str], threads: int) -> str:
    """Standard output of a Python process with its own threads and empty compiler caches."""
    with tempfile.TemporaryDirectory() as caches:
        policy = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        environment = os.environ | policy | {"TORCHINDUCTOR_CACHE_DIR": caches}
        command = [sys.executable, *words]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    from condense import machine

    return machine.high_water_mark()


def command_line() -> str:
    """The words that started this script, from the root of the checkout."""
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def machine_facts() -> dict[str, Any]:
    """Hardware and software, and the load under which the measurement began."""
    from condense import machine

    facts = machine.describe()
    names = ("processor", "cores", "system", "python", "torch")
    return {name: facts[name] for name in names} | {"load": [round(value, 2) for value in os.getloadavg()]}


def first_stated(out: Path, stated: dict[str, Any]) -> dict[str, Any]:
    """What is believed, as it was first written into the file of the result, which is now unless that is there.

    Ends the program where the file states something else: nothing is restated once it may be known.
    """
    from condense import files

    if not out.exists():
        files.write_json(out, stated | {"verdict": "not measured yet"})
        return stated
    found = files.read_json(out)
    before = {name: found.get(name) for name in stated}
    changed = [name for name in stated if before[name] != stated[name] and name != "stated_by"]
    if changed:
        raise SystemExit(f"{out} states another {', '.join(changed)}; choose another --out, it is not restated")
    return before


def print_result(result: dict[str, Any], out: Path | None) -> None:
    """Prints a result with its command and commit as JSON, and writes it to a file when one is named."""
    from condense.evaluate.version import commit

    text = json.dumps({"command": command_line(), "commit": commit(), **result}, indent=1, sort_keys=True)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
