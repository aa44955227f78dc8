"""Labels of many epochs are written and read in memory that does not grow with their bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# A process of its own, so that nothing else grows or shrinks beside the labels; 20,000 classes make much to write of a
# few images and hardly any work. One epoch before the measurement finds the kernels and their memory.
PROGRAM = """
import json, sys
import torch
from condense import networks
from condense.distilled.labels import Committee, Member, Regions
from condense.distilled.views import PlainView
from condense.machine import PeakMemory, high_water_mark
from condense.preprocessing import identity
from condense.run import Run
from condense.soft_labels import per_epoch

torch.set_num_threads(1)
shape, classes, count = (3, 8, 8), 20_000, 32
network = networks.build("convnet-d1:width=1", shape, classes)
committee = Committee((Member("convnet-d1:width=1", network.state_dict(), identity()),), shape, classes, identity())
view = PlainView(torch.zeros((count, *shape), dtype=torch.uint8), identity())
pick = torch.zeros(1, dtype=torch.int64)


def work(name, epochs):
    with Run(name, seed=0) as run:
        labels = per_epoch(view, Regions(count, shape, 8, seed=0), committee, epochs, run)
        for epoch in range(epochs):
            for step in range(labels.steps(epoch)):
                labels.view(epoch, step, pick)
        return labels.nbytes()


work("first", 1)
with PeakMemory() as peak:
    before = high_water_mark()
    written = work("measured", 60)
print(json.dumps({"written": written, "growth": peak.bytes - before}))
"""


def test_memory_stays_flat_while_the_store_grows(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    assert found["written"] == 60 * 32 * 20_000 * 2
    # An epoch is 1.3 MB in half and 2.6 MB in single precision, of which several copies are there at a time; all of
    # them would be 77 MB.
    assert found["growth"] < found["written"] / 3
