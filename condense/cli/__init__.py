"""The command line: one line in, results on stdout, progress and errors on stderr.

Exit codes: 0 success; 1 the work was done but something in it failed; 2 the request cannot be done as given; 130
interrupted. PyTorch is imported by the commands that compute, after the request was understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from condense.cli import parser
from condense.errors import CondenseError, Diverged

_HANDLERS = {
    "list": "condense.cli.listing:listing",
    "distill": "condense.cli.work:distill",
    "gate": "condense.cli.work:gate",
    "evaluate": "condense.cli.work:evaluate",
    "relabel": "condense.cli.work:relabel",
    "transfer": "condense.cli.work:transfer",
    "bench": "condense.cli.work:bench",
    "leaderboard": "condense.cli.work:leaderboard",
    "show": "condense.cli.exchange:show",
    "card": "condense.cli.exchange:card",
    "verify": "condense.cli.exchange:verify",
    "import": "condense.cli.exchange:import_set",
    "export": "condense.cli.exchange:export_set",
    "cache": "condense.cli.caching:cache",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` is that of the process without the program's name."""
    words = list(sys.argv[1:] if argv is None else argv)
    debugging = "--traceback" in words
    try:
        arguments = parser.parse([word for word in words if word != "--traceback"])
        home, _, function = _HANDLERS[arguments.command].partition(":")
        code: int = getattr(import_module(home), function)(arguments)
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
        text = parser.explain(error) if isinstance(error, OSError) else str(error)
        return _refuse(text, 1 if isinstance(error, Diverged) else 2)
    except (MemoryError, RuntimeError) as error:
        if debugging or not _is_out_of_memory(error):
            raise
        return _refuse(f"out of memory ({str(error).splitlines()[0]}); ask for less, or use a machine with more", 2)


def _refuse(text: str, code: int) -> int:
    print(f"condense: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, or PyTorch on either device, found no room; told by names, since PyTorch may not be loaded."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or ("can't allocate memory" in str(error))
    )
