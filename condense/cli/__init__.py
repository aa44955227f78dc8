"""The command line: one line in, results on stdout, progress and errors on stderr.

Exit codes: 0 success; 1 the work was done but something in it failed; 2 the request cannot be done as given; 130
interrupted. PyTorch is imported by the commands that compute, after the request was understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from condense.cli import parser, refusals
from condense.cli.commands import COMMANDS
from condense.errors import CondenseError, Diverged


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` is that of the process without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    debugging = "--traceback" in words
    try:
        arguments = parser.parse([word for word in words if word != "--traceback"])
        home, _, function = COMMANDS[arguments.command].handler.partition(":")
        code: int = getattr(import_module(f"condense.cli.{home}"), function)(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        print("condense: interrupted; the same command resumes where this one stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (CondenseError, OSError) as error:
        if debugging:
            raise
        text = refusals.explain(error) if isinstance(error, OSError) else str(error)
        return _refuse(text, 1 if isinstance(error, Diverged) else 2)
    except (MemoryError, RuntimeError) as error:
        if debugging or not refusals.is_out_of_memory(error):
            raise
        return _refuse(f"out of memory ({str(error).splitlines()[0]}); ask for less, or use a machine with more", 2)


def _refuse(text: str, code: int) -> int:
    print(f"condense: error: {' '.join(text.split())}", file=sys.stderr)
    return code
