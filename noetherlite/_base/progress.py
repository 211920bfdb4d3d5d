"""Progress bars on standard error."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int, unit: str, **options: Any) -> Any:
    """Return a tqdm bar, hidden if standard error is missing (pythonw, services) or closed."""
    from tqdm.auto import tqdm  # imported only if a bar is shown

    hidden = sys.stderr is None or sys.stderr.closed
    return tqdm(total=total, unit=unit, leave=False, disable=hidden, **options)
