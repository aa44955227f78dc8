"""The file of one expert: its parameters after every epoch, and what is needed to train it further.

Records, in order: a description; the float32 parameters of epoch 0, the initialisation; and one record for each further
epoch. Where a training ended, the state of its optimiser stands in front of the record of its last epoch, so that an
epoch that is there and was the last one can always be gone on from.

Parameters are stored as they are, or as bfloat16 differences: d_e = bf16(theta_e - r_{e-1}), where r_0 = theta_0 and
r_e = r_{e-1} + d_e is what a reader reconstructs. Each difference is taken against that, so the error of r_e is the
rounding of d_e alone, at most 2^-8 of the change in that epoch, however many epochs came before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from condense import files
from condense.errors import BadInput
from condense.experts import journal
from condense.identity import canonical
from condense.tensor_format import tensor_bytes

Store = Literal["float32", "bfloat16-differences"]
STORES: tuple[Store, ...] = ("float32", "bfloat16-differences")

_DESCRIPTION, _PARAMETERS, _DIFFERENCE, _STATE = range(4)


@dataclass
class Resume:
    """Where a training stands."""

    parameters: Tensor  # (P,)
    momentum: Tensor  # (P,), or (0,) for a recipe without


def file_bytes(size: int, epochs: int, store: Store, momentum: bool) -> int:
    """About how large a file is: the initialisation, so many epochs of `size` parameters, and one optimiser's state."""
    exact = store == "float32"
    return size * (4 + (4 if exact else 2) * epochs + 4 * momentum + 4 * (not exact))


class Trajectory:
    """One file.  Reading needs no lock; `mend` and `append` need that of the file.

    Args:
        facts: what the file is for, as plain values; a file for anything else is not taken.
        size: P, the number of parameters.
        momentum: whether the optimiser has a state besides the parameters.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any], size: int, *, store: Store, momentum: bool):
        self.path = path
        self.size = size
        self._description = canonical({**facts, "size": size, "store": store, "momentum": momentum})
        self._store = store
        self._momentum = momentum
        self._epochs: list[journal.Record] = []
        self._states: dict[int, journal.Record] = {}
        self._end = 0  # of the last record of parameters, or of the description
        self._state: journal.Record | None = None  # a state that stands in front of parameters still to come
        self._damage: str | None = None
        self._rebuilt: tuple[int, Tensor] | None = None  # the last epoch that was added up from differences

    @property
    def last(self) -> int:
        """The last epoch whose parameters are there, -1 when not even the initialisation is."""
        return len(self._epochs) - 1

    @property
    def trained(self) -> int:
        """The last epoch from which training can go on; 0 when there is no more than the initialisation."""
        return max(self._states, default=0)

    @property
    def damaged(self) -> bool:
        """Whether the survey ended at a record that was not merely torn."""
        return self._damage is not None

    @property
    def nothing_beyond(self) -> bool:
        """Whether nothing lies behind what the survey looked at."""
        return self.path.is_file() and self.held == self._end

    @property
    def held(self) -> int:
        """Bytes of the file as it is, 0 without one."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def nbytes(self, epochs: int) -> int:
        """About how large the file is when so many epochs are in it."""
        return file_bytes(self.size, epochs, self._store, self._momentum)

    def survey(self, epochs: int) -> None:
        """Looks the file through, verifying every record up to the parameters of epoch `epochs`."""
        self._epochs, self._states, self._end, self._state = [], {}, 0, None
        self._damage, self._rebuilt = None, None
        if not self.path.is_file():
            return
        try:
            for record in journal.records(self.path):
                self._accept(record)
                if self.last == epochs:
                    return
        except journal.Damage as damage:
            self._damage = str(damage)

    def mend(self) -> None:
        """Cuts off what stands behind the last sound record, and says so unless it was merely torn.

        A torn record is what a killed process leaves; it is made again without ado.
        """
        if self.held > self._end:
            if self._damage is not None:
                print(
                    f"condense: {self.path}: damaged ({self._damage}); its expert is trained again from there",
                    file=sys.stderr,
                )
            files.cut(self.path, self._end)
        self._damage, self._state = None, None

    def read(self, epoch: int) -> Tensor:
        """Parameters (P,) float32 on the CPU after `epoch` epochs, in memory of their own.

        Raises:
            BadInput: for an epoch that is not there.
            DamagedFile: naming the file when the record is not what was written.
        """
        if not 0 <= epoch <= self.last:
            raise BadInput(f"{self.path} holds the epochs 0 to {self.last}, {epoch} was asked for; train longer")
        if self._store == "float32" or epoch == 0:
            return self._floats(self._epochs[epoch], torch.float32)
        begin, total = self._rebuilt if self._rebuilt and self._rebuilt[0] <= epoch else (0, self.read(0))
        total = total.clone()
        for record in self._epochs[begin + 1 : epoch + 1]:
            total += self._floats(record, torch.bfloat16)
        self._rebuilt = (epoch, total)
        return total.clone()

    def resume(self) -> Resume:
        """What training goes on from, after epoch `trained`."""
        if not self.trained:
            return Resume(self.read(0), torch.zeros(self.size * self._momentum))
        state = self._floats(self._states[self.trained], torch.float32)
        if self._store == "float32":
            return Resume(self.read(self.trained), state)
        return Resume(state[: self.size], state[self.size :])

    def append(self, epoch: int, parameters: Tensor, *, momentum: Tensor | None = None) -> None:
        """Adds the parameters (P,) of the epoch behind the last one.

        momentum: given when the training ends here; (P,), or (0,) for a recipe without.
        """
        assert epoch == self.last + 1, (epoch, self.last)
        exact = parameters.detach().to("cpu", torch.float32)
        if self._end == 0:
            self._append(_DESCRIPTION, 0, self._description)
        if momentum is not None:
            rest = momentum.detach().to("cpu", torch.float32)
            self._append(_STATE, epoch, tensor_bytes(rest if self._store == "float32" else torch.cat([exact, rest])))
        if epoch == 0 or self._store == "float32":
            self._append(_PARAMETERS, epoch, tensor_bytes(exact))
            return
        before = self.read(epoch - 1)
        difference = (exact - before).to(torch.bfloat16)
        self._append(_DIFFERENCE, epoch, tensor_bytes(difference))
        self._rebuilt = (epoch, before + difference)

    def _append(self, kind: int, number: int, content: bytes | memoryview) -> None:
        end = self._end if self._state is None else self._state.end
        self._accept(journal.append(self.path, end, kind, number, content))

    def _accept(self, record: journal.Record) -> None:
        """Takes a sound record into the list.

        Raises:
            Damage: when it is not one that can follow the records before it.
        """
        begins, expected = self._end == 0, self.last + 1
        if begins:
            fits = record.kind == _DESCRIPTION and bytes(journal.payload(self.path, record)) == self._description
        elif record.kind == _STATE:
            width = 4 * (self._momentum + (self._store != "float32"))
            fits = record.number == expected > 0 and record.length == width * self.size and self._state is None
        else:
            exact = self._store == "float32" or expected == 0
            form = (_PARAMETERS, 4 * self.size) if exact else (_DIFFERENCE, 2 * self.size)
            fits = (record.kind, record.length) == form and record.number == expected
        if not fits:
            raise journal.Damage(f"the record that ends at byte {record.end} belongs to something else")
        if record.kind == _STATE:
            self._state = record
            return
        self._end = record.end
        if not begins:
            self._epochs.append(record)
            if self._state is not None:
                self._states[expected], self._state = self._state, None

    def _floats(self, record: journal.Record, dtype: torch.dtype) -> Tensor:
        content = journal.payload(self.path, record)
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
