"""One named loop of a run: checkpoints, early end, divergence, and going on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from condense import files
from condense.errors import BadInput, DamagedFile
from condense.run.clock import Clock
from condense.run.curve import Curve
from condense.run.settings import Settings
from condense.run.state import State
from condense.tensor_format import checksum

_FACTS = {"step", "steps", "finished", "stopped", "state"}


class Phase:
    """A phase's checkpoint is one file, so that step, state and the reason of an early end always belong together.

    It is named `phases/<name>.safetensors` and stays until the run directory goes: a finished phase gives its end state
    back to whatever follows it.
    """

    def __init__(self, directory: Path, name: str, steps: int, state: State, settings: Settings, clock: Clock):
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise BadInput(f"phase {name!r} needs a whole number of steps of at least 0, got {steps!r}")
        self.name = name
        self.steps = steps
        self.step = 0  # steps that are done
        self.finished = False
        self.stopped: dict[str, Any] | None = None
        self.curve = Curve(directory / "curves" / f"{name}.jsonl", name, steps)
        self._path = directory / "phases" / f"{name}.safetensors"
        self._state = state
        self._settings = settings
        self._clock = clock
        self._saved_at = monotonic()

    def __iter__(self) -> Generator[int, None, None]:
        with files.lock(self._path) if self._settings.shared else nullcontext():
            yield from self._remaining()

    def _remaining(self) -> Generator[int, None, None]:
        self._restore()
        if self.finished:
            return
        progress = self._settings.progress
        progress.begin(self.name, self.steps, self.step)
        try:
            while self.step < self.steps:
                if (budget := self._clock.used_up) is not None:
                    self.stop(f"the time budget of {budget:g} s is used up")
                if self.stopped is not None:
                    break
                yield self.step
                self.step += 1
                self._after_step()
            self._save(finished=True)
        finally:
            progress.end(self.stopped["reason"] if self.stopped else None)

    def stop(self, reason: str) -> None:
        """Ends the phase before its next step."""
        if self.stopped is None:
            self.stopped = {"step": self.step, "reason": reason}

    def log(self, values: Mapping[str, Any]) -> None:
        self.curve.log(self.step, values)

    def _after_step(self) -> None:
        if self.stopped is not None:
            self.stopped["step"] = self.step  # the step that asked for the end counts
        elif self.step < self.steps and monotonic() - self._saved_at >= self._settings.checkpoint_seconds:
            self._save(finished=False)
        elif self.step % self._settings.check_every == 0:
            self._check()
        else:
            self._settings.progress.advance(self.step)

    def _check(self) -> None:
        latest = self.curve.check()
        self._state.check_finite(f"{self.name}, step {self.step}")
        self._settings.progress.advance(self.step, latest)

    def _save(self, finished: bool) -> None:
        self._check()
        # Before the checkpoint: a resumed phase drops the lines of steps that it does again.
        self.curve.write()
        tree, tensors = self._state.save()
        facts = {
            "step": self.step,
            "steps": self.steps,
            "finished": finished,
            "stopped": self.stopped,
            "state": tree,
        }
        text = json.dumps(facts, allow_nan=False)
        files.write_tensors(self._path, tensors, {"checkpoint": text, "digest": _digest(text, tensors)})
        self._clock.save()
        self.finished = finished
        self._saved_at = monotonic()

    def _restore(self) -> None:
        if not self._path.is_file():
            return
        facts, tensors = _read(self._path)
        if facts["steps"] != self.steps:
            raise BadInput(
                f"{self._path} is a checkpoint of {facts['steps']} steps, {self.steps} were asked for; "
                "remove the run's folder to start anew"
            )
        self._state.restore(facts["state"], tensors, self._settings.device)
        self.step = facts["step"]
        self.finished = facts["finished"]
        self.stopped = facts["stopped"]
        self.curve.load(self.step)


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(f"{checksum(tensors)}:{text}".encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and tensors of a checkpoint.

    Raises:
        DamagedFile: saying which folder to remove when they are not what was written.
    """
    remedy = f"remove {path.parent.parent} to start that run anew"
    try:
        metadata, tensors = files.read_metadata(path), files.read_tensors(path)
        text = metadata["checkpoint"]
        facts = json.loads(text)
        if "digest" in metadata:
            sound = metadata["digest"] == _digest(text, tensors)
        else:  # older versions kept a digest of the tensors alone among the facts
            sound = facts["checksum"] == checksum(tensors) and facts.keys() >= _FACTS
    except DamagedFile as error:
        raise DamagedFile(path, error.reason, remedy) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(path, "not a checkpoint", remedy) from error
    if not sound:
        raise DamagedFile(path, "its content is not what was written", remedy)
    return facts, tensors
