"""Progress bars on standard error."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int, unit: str, shown: bool = True, **options: Any) -> Any:
    """Return a tqdm bar, hidden unless it is to be `shown`, and if standard error is missing (pythonw, services) or closed."""
    from tqdm.auto import tqdm  # which takes 30 ms to import

    hidden = not shown or sys.stderr is None or sys.stderr.closed
    return tqdm(total=total, unit=unit, leave=False, disable=hidden, **options)
