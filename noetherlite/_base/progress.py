"""Progress bars on standard error, where there is one."""

from __future__ import annotations

import sys
from typing import Any


def bar(total: int, unit: str, **more: Any) -> Any:
    """Return a tqdm bar; it shows nothing where standard error is missing (pythonw, services) or closed."""
    from tqdm.auto import tqdm  # here, so that those who ask for no bar do not import it

    nobody = sys.stderr is None or sys.stderr.closed
    return tqdm(total=total, unit=unit, leave=False, disable=nobody, **more)
