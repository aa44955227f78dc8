"""`python -m condense.cli`, for where no `condense` command was installed."""

from __future__ import annotations

import sys

from condense.cli import main

sys.exit(main())
