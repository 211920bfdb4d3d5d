"""numba's pipeline for this library's kernels: without what takes it time and does nothing for them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.targetconfig import TargetConfig
from numba.core.typed_passes import NopythonRewrites

# This member of numba has no type.
_Passes: Any = DefaultPassBuilder


class Pipeline(CompilerBase):
    """The passes of numba without the one that merges operations on whole arrays, which kernels do not have."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of a function."""
        manager = _Passes.define_nopython_pipeline(self.state)
        manager.passes = [(run, name) for run, name in manager.passes if run is not NopythonRewrites]
        manager.finalize()
        return [manager]


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    return {name: option.default for name, option in kind.options.items()}


def _values(settings: Any) -> dict[str, Any]:
    kind: Any = type(settings)
    return {**_defaults(kind), **settings._values}


def _itself(original: Any, memo: Any) -> Any:
    return original


# Methods of numba's that take long, and shorter ones. It copies a function twice, block by block, into each of its callers that it is
# compiled into, and with each block all variables of the function and its places in the source: a tenth of the time that kernels take
# to compile, though the caller gets names of its own for them and the scope of the original is not used again. What a function is
# compiled with, 25 numbers, is listed whenever the type of a call is asked for.
_SHORTER: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (ir.Scope, "__deepcopy__", _itself),
    (ir.Loc, "__deepcopy__", _itself),
    (TargetConfig, "values", _values),
)


@contextlib.contextmanager
def shorter_ways() -> Iterator[None]:
    """Context in which numba does by shorter ways what these kernels need much of.

    The compiler's lock must be held, for these are the classes that all of numba uses.
    """
    before = [(kind, name, vars(kind).get(name)) for kind, name, _ in _SHORTER]
    for kind, name, method in _SHORTER:
        setattr(kind, name, method)
    try:
        yield
    finally:
        for kind, name, method in before:
            if method is None:
                delattr(kind, name)
            else:
                setattr(kind, name, method)
