"""What a function's machine code is made of, as a digest: its own code and all that it refers to.

Code on disk is kept by the digest of all files in this folder. A function that was handed in from elsewhere, or made around
one that was, is not said by that: here are its instructions, its constants and, again in this way, the values of its names.
"""

from __future__ import annotations

import hashlib
import types
from typing import Any

import numpy as np

_KERNELS = __package__
# Said by the versions that a folder of code is named after, or by the processor.
_KNOWN = ("builtins", "math", "cmath", "operator", "numpy", "numba", _KERNELS)
_PLAIN = (int, float, complex, str, bytes, type(None), type(Ellipsis))


def of(function: Any) -> str:
    """Return the digest of a Python function or of a compiled one.

    Raises
    ------
    TypeError
        If it refers to something whose content cannot be told, such as an object of a user's class.
    """
    return hashlib.sha256(_described(function, []).encode()).hexdigest()


def _is_known(module: str | None) -> bool:
    return module is not None and any(module == name or module.startswith(f"{name}.") for name in _KNOWN)


def _described(value: Any, seen: list[Any]) -> str:
    options = _options(value)
    # the function of a compiled one, or of an intrinsic
    value = getattr(value, "py_func", getattr(value, "_defn", value))
    if isinstance(value, types.FunctionType):
        if _is_known(value.__module__) and value.__closure__ is None and "<" not in value.__qualname__:
            return f"{value.__module__}:{value.__qualname__}"
        if value in seen:
            return f"again {seen.index(value)}"
        seen.append(value)
        return f"{options}{_of_function(value, seen)}"
    if isinstance(value, tuple | list | frozenset):
        parts = [_described(part, seen) for part in value]
        return f"{type(value).__name__}({', '.join(sorted(parts) if isinstance(value, frozenset) else parts)})"
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, np.generic | np.ndarray):
        return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    name = f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
    if isinstance(value, type) and issubclass(value, tuple):  # the order of its fields
        return f"{name} {getattr(value, '_fields', ())}"
    if isinstance(value, type | types.BuiltinFunctionType | np.ufunc) or _is_known(getattr(value, "__module__", None)):
        return name if isinstance(value, type | types.BuiltinFunctionType) else f"{name} {value!r}"
    raise TypeError(f"{value!r} is no function or constant whose content can be told")


def _options(value: Any) -> str:
    """Return what a compiled function is compiled with, '' for another one."""
    options = getattr(value, "targetoptions", {})
    return "".join(f"{k}={sorted(v) if isinstance(v, set) else v!r} " for k, v in sorted(options.items()))


def _of_function(function: types.FunctionType, seen: list[Any]) -> str:
    codes, consts = [function.__code__], []
    names: set[str] = set()
    for code in codes:
        names.update(code.co_names)
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                codes.append(const)
            else:
                consts.append(_described(const, seen))
    inside = [f"{code.co_code.hex()} {code.co_varnames} {code.co_names} {code.co_flags}" for code in codes]
    closure = [_described(cell.cell_contents, seen) for cell in function.__closure__ or ()]
    defaults = _described(function.__defaults__ or (), seen)
    space, outside = function.__globals__, []
    for name in sorted(names & space.keys()):
        if isinstance(space[name], types.ModuleType):
            outside.append(f"{name} = {_of_module(space[name], names, seen)}")
        else:
            outside.append(f"{name} = {_described(space[name], seen)}")
    return "\n".join([*inside, *consts, *closure, defaults, *outside])


def _of_module(module: types.ModuleType, names: set[str], seen: list[Any]) -> str:
    """Return a module's name, with what a function may use of it where that is not known by the name."""
    if _is_known(module.__name__):
        return module.__name__
    used = sorted(name for name in names if hasattr(module, name))
    return f"{module.__name__}: " + ", ".join(f"{name} = {_described(getattr(module, name), seen)}" for name in used)
