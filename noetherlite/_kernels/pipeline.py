"""numba's pipeline for this library's kernels: without what takes it time and does nothing for them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite.binding import llvm_version_info
from numba.core import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.targetconfig import TargetConfig
from numba.core.typed_passes import NativeLowering, NopythonRewrites

# These members of numba have no types.
_Passes: Any = DefaultPassBuilder
_register: Any = register_pass


class _OptimisedOnce(JITCodeLibrary):
    """The code of a function, optimised once it is linked with what it calls.

    numba also has it optimised before that, by most of the same passes.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout  # as numba does there, too


@_register(mutates_CFG=True, analysis_only=False)
class _IntoOptimisedOnce(NativeLowering):
    """numba's pass that makes LLVM's code of a function."""

    _name = "lowering_optimised_once"

    def run_pass(self, state: Any) -> Any:
        if state.library is None:
            state.library = _OptimisedOnce(state.targetctx.codegen(), state.func_id.func_qualname)  # type: ignore[no-untyped-call]
            state.library.enable_object_caching()
        return super().run_pass(state)  # type: ignore[no-untyped-call]


class Pipeline(CompilerBase):
    """The passes of numba without the one that merges operations on whole arrays, which kernels do not have, and `_OptimisedOnce`."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of a function."""
        manager = _Passes.define_nopython_pipeline(self.state)
        # With LLVM 15 what numba does before linking is short, and without it sums have other orders.
        once = {NativeLowering: _IntoOptimisedOnce} if llvm_version_info >= (16,) else {}
        manager.passes = [(once.get(run, run), name) for run, name in manager.passes if run is not NopythonRewrites]
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
