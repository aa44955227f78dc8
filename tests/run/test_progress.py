from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from condense.progress import Progress
from condense.run import Run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_phase_ends_in_one_line(open_run: Callable[..., Run], stream: io.StringIO) -> None:
    run = open_run(progress=Progress(stream, worth_a_line=0))
    for step in run.loop("match", 20):
        run.log(loss=0.5)
        if step == 9:
            run.stop("enough")
    for job in run.jobs("recover", [0]):
        for _ in job.run.loop("steps", 2):
            pass
        job.save()
    plain = re.findall(r"condense: .*", stream.getvalue())
    assert [line.split(" in ")[0] for line in plain] == [
        "condense: match: 10 of 20",
        "condense: steps: 2 of 2",
        "condense: jobs 'recover': 1 of 1",
    ]
    assert plain[0].endswith(" s; loss 0.5; enough")
    if not stream.isatty():
        assert stream.getvalue().splitlines() == plain


def test_a_failing_phase_gives_the_terminal_back(open_run: Callable[..., Run]) -> None:
    stream = Terminal()
    progress = Progress(stream)
    with pytest.raises(KeyboardInterrupt), open_run(progress=progress) as run:
        for _ in run.loop("match", 2):
            raise KeyboardInterrupt
    assert progress._bars is None


def test_a_short_phase_leaves_no_line_unless_it_ended_early(open_run: Callable[..., Run]) -> None:
    stream = io.StringIO()
    run = open_run(progress=Progress(stream))
    for _ in run.loop("whole", 2):
        pass
    for _ in run.loop("stopped", 2):
        run.stop("enough")
    assert [line.split(" in ")[0] for line in stream.getvalue().splitlines()] == ["condense: stopped: 1 of 2"]
