"""Prior performances that are stated; those that are measured are tested with the method, in tests/methods."""

from __future__ import annotations

import pytest

from condense.errors import BadInput
from condense.recovery.priors import stated


def test_stated_priors_are_percentages_one_for_each_member() -> None:
    assert stated("63.0+65.3 + 68.5", 3) == [63.0, 65.3, 68.5]
    for wrong in ("63+65", "63+65+high", "63+65+101"):
        with pytest.raises(BadInput, match=r"priors are 3 percentages joined by \+, one for each member; got"):
            stated(wrong, 3)
