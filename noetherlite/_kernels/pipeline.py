"""numba's pipeline for this library's kernels: without what takes it time and does nothing for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.typed_passes import NopythonRewrites

# These members of numba have no types.
_Passes: Any = DefaultPassBuilder
_COPIED: tuple[Any, ...] = (ir.Scope, ir.Loc)


class Pipeline(CompilerBase):
    """The passes of numba without the one that merges operations on whole arrays, which kernels do not have."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of a function."""
        manager = _Passes.define_nopython_pipeline(self.state)
        manager.passes = [(run, name) for run, name in manager.passes if run is not NopythonRewrites]
        manager.finalize()
        return [manager]


@contextlib.contextmanager
def shared_scopes() -> Iterator[None]:
    """Context in which copies of code share the scope of its variables and its places in the source.

    numba copies a function twice, block by block, into each of its callers that it is compiled into, and with each block all variables
    of the function: a tenth of the time that kernels take to compile. The caller gets names of its own for them, and the scope of the
    original is not used again. The compiler's lock must be held, for these are the classes that all of numba uses.
    """
    kinds = [kind for kind in _COPIED if not hasattr(kind, "__deepcopy__")]  # none inside of another such context
    for kind in kinds:
        kind.__deepcopy__ = lambda original, memo: original
    try:
        yield
    finally:
        for kind in kinds:
            del kind.__deepcopy__
