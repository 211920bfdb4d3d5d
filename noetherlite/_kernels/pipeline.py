"""numba's pipeline for this library's kernels: without what takes it time and does nothing for them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from numba.core import ir, types
from numba.core.base import BaseContext
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.lowering import Lower
from numba.core.postproc import PostProcessor, VariableLifetime
from numba.core.runtime.context import NRTContext
from numba.core.targetconfig import TargetConfig
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import NopythonRewrites

# These members of numba have no types.
_Passes: Any = DefaultPassBuilder
_canonicalize: Any = canonicalize_cfg
_Lifetimes: Any = VariableLifetime


class Pipeline(CompilerBase):
    """The passes of numba without the one that merges operations on whole arrays, which kernels do not have."""

    def define_pipelines(self) -> list[Any]:
        """Return the passes of a function."""
        manager = _Passes.define_nopython_pipeline(self.state)
        manager.passes = [(run, name) for run, name in manager.passes if run is not NopythonRewrites]
        manager.finalize()
        return [manager]


def _itself(original: Any, memo: Any) -> Any:
    """Copy a scope, or a place in the source.

    numba copies a function twice, block by block, into each of its callers that it is compiled into, and with each block all variables
    of the function and its places in the source: a tenth of the time that kernels take to compile, though the caller gets names of its
    own for them and the scope of the original is not used again.
    """
    return original


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    return {name: option.default for name, option in kind.options.items()}


def _values(settings: Any) -> dict[str, Any]:
    """List what a function is compiled with, 25 numbers, which is asked for with the type of every call."""
    kind: Any = type(settings)
    return {**_defaults(kind), **settings._values}


_analyse: Any = PostProcessor.run


def _analyse_if_asked(analysis: Any, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:
    """Say where variables live, which most passes of numba have found out for the next one, and few of these need.

    What is alive where a block begins matters to generators and to objects of Python alone.
    """
    function = analysis.func_ir
    if emit_dels or function.is_generator:
        _analyse(analysis, emit_dels, extend_lifetimes)
    else:
        function.blocks = _canonicalize(function.blocks)
        function.variable_lifetime, function.generator_info = _Lifetimes(function.blocks), None


_resolve: Any = types.BaseFunction.get_call_type
_resolved: dict[Any, Any] = {}
_PLAIN = types.Number | types.Boolean | types.Array


def _resolve_once(function: Any, context: Any, args: Any, kws: Any) -> Any:
    """Return the signature of a call: of an operation on numbers and arrays that which was found before.

    That of a function that is written in Python is not kept, as its code depends on what its caller is compiled with.
    """
    if kws or not all(isinstance(arg, _PLAIN) for arg in args):
        return _resolve(function, context, args, kws)
    signature = _resolved.get((function, context, args))
    if signature is None:
        signature = _resolve(function, context, args, kws)
        if function._impl_keys[signature.args] is function.typing_key:
            _resolved[function, context, args] = signature
    return signature


@functools.cache
def _size(kind: Any, target: Any) -> Any:
    return kind.get_abi_size(target)


def _size_of(context: Any, kind: Any) -> Any:
    """Return the size of a type, for which LLVM reads a module, once and not for every variable."""
    return _size(kind, context.target_data)


@functools.cache
def _is_counted(model: Any) -> bool:
    return bool(model.contains_nrt_meminfo())


def _owners(counts: Any, builder: Any, kind: Any, value: Any) -> list[Any]:
    """List the owners whose references are counted, without taking apart what has none.

    numba takes every value apart where a variable ends: a fifth of the code that LLVM reads, and then drops.
    """
    models = counts._context.data_model_manager
    model = models[kind]
    owners = [(kind, model.get_nrt_meminfo(builder, value))] if model.has_nrt_meminfo() else []
    for part, get in model.traverse(builder) if _is_counted(model) else ():
        if _is_counted(models[part]):
            owners += _owners(counts, builder, part, get(value))
    return owners


_end: Any = Lower.delvar


def _end_if_counted(lower: Any, name: str) -> None:
    """End a variable; one without an owner need not be overwritten by zeros."""
    if _is_counted(lower.context.data_model_manager[lower.typeof(name)]):
        _end(lower, name)


# Methods of numba's that take long, and shorter ones.
_SHORTER: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (ir.Scope, "__deepcopy__", _itself),
    (ir.Loc, "__deepcopy__", _itself),
    (TargetConfig, "values", _values),
    (PostProcessor, "run", _analyse_if_asked),
    (types.BaseFunction, "get_call_type", _resolve_once),
    (BaseContext, "get_abi_sizeof", _size_of),
    (NRTContext, "get_meminfos", _owners),
    (Lower, "delvar", _end_if_counted),
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
