"""The one way in which this library compiles a function for the CPU."""

from __future__ import annotations

import contextlib
import functools
import gc
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from .._base.interrupt import between_functions
from . import fingerprint
from .pipeline import Pipeline, shorter_ways
from .store import Cache

# The part of fastmath that keeps NaN and infinity visible: sums may be reordered (and so vectorised), a product and
# a sum may become one fused operation, and the sign of zero is not kept.
_RELAXED = {"contract", "reassoc", "nsz"}
_IN_ORDER = {"contract"}  # the same without other orders
# To compile the wrapper that Python calls takes as long as to compile a short function. numba's other one, for callbacks, nobody needs.
_FOR_COMPILED_CODE = {"no_cpython_wrapper": True}
_INTO_CALLERS = {**_FOR_COMPILED_CODE, "forceinline": True}
# New objects after which Python looks for cyclic garbage while numba compiles, which makes many objects and little of that.
_NEW_OBJECTS = 100_000
_njit: Any = functools.partial(numba.njit, pipeline_class=Pipeline)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` lazily and keep the result on disk, or only in memory where no folder can be written."""
    return _compile(function, _RELAXED)


def scalar(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers into its callers, its sums in the order they are written whatever stands around them."""
    return _compile(function, _IN_ORDER, **_INTO_CALLERS)


def rounded(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers into its callers, every operation rounded for itself."""
    return _compile(function, set(), **_INTO_CALLERS)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into its callers: for code with one caller, which LLVM would else optimise once per level."""
    return _compile(function, _RELAXED, inline="always")


def merged(function: Callable[..., Any]) -> Any:
    """Compile `function` by itself, then into its callers: for short work whose arguments would take longer to pass."""
    return _compile(function, _RELAXED, **_INTO_CALLERS)


def addressed(function: Callable[..., Any]) -> Any:
    """Compile `function` for compiled code alone, which links it or calls it by its address."""
    return _compile(function, _RELAXED, **_FOR_COMPILED_CODE)


def looped(function: Callable[..., Any]) -> Any:
    """Compile a loop with functions of numbers `inside` of it, for compiled code that calls it by its address."""
    return _compile(function, _IN_ORDER, **_FOR_COMPILED_CODE)


def inside(function: Any) -> Any:
    """Return a function of numbers as a part of the loop that alone calls it, which takes less time than to compile and link it."""
    fits = getattr(function, "targetoptions", {}).get("fastmath") == _IN_ORDER
    return inlined(function.py_func) if fits else function


class _LittleCollecting(contextlib.ContextDecorator):
    """Context in which Python seldom looks for cyclic garbage, which takes a tenth of the time to compile.

    It looks at the end, through all that is new: many functions in one context take less time than each in its own. Of contexts of
    several threads the first finds the usual threshold, and the last restores it.
    """

    def __init__(self) -> None:
        self._lock, self._entered = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._entered == 0:
                self._usual = usual = gc.get_threshold()
                gc.set_threshold(max(usual[0], _NEW_OBJECTS) if usual[0] else 0, *usual[1:])
            self._entered += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                gc.set_threshold(*self._usual)


little_collecting = _LittleCollecting()


def _named_by_content(function: Callable[..., Any]) -> None:
    """Give a function that is made inside of another a name that tells it from all others made there.

    Machine code is linked by names, which numba tells apart by a count that begins anew in each process: code on disk from two
    processes may have the same name for two such functions, one of which would be called in the place of the other.
    """
    if "<locals>" in function.__qualname__:
        with contextlib.suppress(TypeError):  # what cannot be told is not kept on disk
            digest = fingerprint.of(function)[:16]
            function.__qualname__ = f"{function.__qualname__.removesuffix(f'_{digest}')}_{digest}"


class _WithoutWrapper(CPUDispatcher):
    """A function for compiled code; Python calls a second one, which is compiled when that happens."""

    def __call__(self, *args: Any) -> Any:
        return self._of_python(*args)

    @functools.cached_property
    def _of_python(self) -> Any:
        f = self.py_func
        function = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
        function.__qualname__ = f"{f.__qualname__}_of_python"  # by which machine code is found
        options = {
            name: value for name, value in self.targetoptions.items() if name not in (*_INTO_CALLERS, "nopython")
        }
        return _adopted(_njit(**options)(function))


def _compile(function: Callable[..., Any], fastmath: set[str], **more: Any) -> Any:
    _named_by_content(function)
    options = {"fastmath": fastmath, "error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True, **more}
    dispatcher: Any = _njit(**options)(function)
    if dispatcher is function:  # without the compiler
        return function
    if "no_cpython_wrapper" in more:
        dispatcher.__class__ = _WithoutWrapper
    return _adopted(dispatcher)


def _adopted(dispatcher: Any) -> Any:
    """Return a dispatcher of numba that keeps machine code in `store`, and is interrupted between two functions alone."""
    function = dispatcher.py_func
    dispatcher._cache = Cache(function)
    compile_now = dispatcher.compile

    @functools.wraps(compile_now)
    def compile_in_turn(signature: Any) -> Any:
        """Compile for a signature, or find that on disk; what it calls comes in here too, inside of its caller's turn."""
        with between_functions(global_compiler_lock), little_collecting, shorter_ways():
            return compile_now(signature)

    dispatcher.compile = compile_in_turn
    return dispatcher
