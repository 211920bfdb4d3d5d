"""What a value is: a SHA-256 of its content, the same in every process, whatever its name and wherever it lies in memory.

A value is a tree of pieces. Numbers, texts and arrays are their bytes; a function is its bytecode, its defaults, its closure and
the globals that it reads; every other object is what pickle would make of it, but nothing is pickled or called back. What belongs
to an installed package, this one among them, is its name: versions are kept beside the results.
"""

from __future__ import annotations

import copyreg
import dis
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_PACKAGE = Path(__file__).resolve().parents[1]
_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
_DESCRIPTORS = (
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
# What Python keeps in a class for itself.
_OF_PYTHON = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
}


class UnidentifiedError(TypeError):
    """A value has no content that could be told from another's; the message says which and why."""


class _Node(NamedTuple):
    """One value of the tree: its kind, its own bytes, and the values it is made of, each with what it is called."""

    kind: str
    own: Any = b""
    children: Iterable[tuple[str, Any]] = ()
    ordered: bool = True


def digest(value: object) -> str:
    """Return the SHA-256 of a value's content, in hexadecimal.

    Raises
    ------
    UnidentifiedError
        If the value, or one that it holds, cannot be identified: a lock, an open file, a generator.
    """
    return _Reader().digest(value).hex()


def parts(function: Callable[..., Any]) -> dict[str, str]:
    """Return the digests of what a function is made of: its code, and what is bound to it, each by what it is called.

    Raises
    ------
    UnidentifiedError
        As for `digest`.
    """
    reader, found = _Reader(), {}
    for name, value in _parts(function):
        with reader.inside(name):
            found[name] = reader.digest(value).hex()
    return found


def told_by_name(function: Callable[..., Any]) -> bool:
    """Return whether a function's name and the text of what is bound to it say all: an installed one with plain values."""
    while isinstance(function, functools.partial):
        if not (is_plain(list(function.args)) and is_plain(function.keywords)):
            return False
        function = function.func
    return isinstance(function, types.FunctionType) and _found_by_name(function)


def is_plain(value: object) -> bool:
    """Return whether a value's text is its content: numbers, strings, None, and lists and dicts of these."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(is_plain(part) for item in value.items() for part in item)
    return type(value) in _SCALARS


def _parts(function: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(function, functools.partial):
        yield from _parts(function.func)
        yield from ((f"argument {i}", value) for i, value in enumerate(function.args))
        yield from ((f"argument {name}", value) for name, value in sorted(function.keywords.items()))
    elif isinstance(function, types.MethodType):
        yield from _parts(function.__func__)
        yield "object", function.__self__
    elif isinstance(function, types.FunctionType) and not _found_by_name(function):
        yield from _of_function(function)
    else:
        yield "code", function


class _Reader:
    """Reads a tree once: what is met again is known, what holds itself is named by its place."""

    def __init__(self) -> None:
        self._where: list[str] = []
        self._open: dict[int, int] = {}
        # With the values, as their numbers could be given to others else.
        self._known: dict[int, tuple[object, bytes]] = {}

    def digest(self, value: object) -> bytes:
        number = id(value)
        if number in self._known:
            return self._known[number][1]
        if number in self._open:
            return b"held by itself %d" % self._open[number]
        self._open[number] = len(self._open)
        try:
            found = self._hashed(_node(value))
        except UnidentifiedError:
            raise
        except Exception as error:  # whatever an object's own methods raise
            names = [name for name in reversed(self._where) if name] or ["it"]
            place = " of ".join([*names[:3], "…", names[-1]] if len(names) > 4 else names)
            raise UnidentifiedError(f"{place} is {_kind(value)}, which cannot be identified: {error}") from None
        finally:
            del self._open[number]
        self._known[number] = value, found
        return found

    def _hashed(self, node: _Node) -> bytes:
        children = []
        for name, child in node.children:
            with self.inside(name):
                children.append(name.encode() + b"\0" + self.digest(child))
        found = hashlib.sha256(f"{node.kind}\0{len(children)}\0".encode())
        for child in children if node.ordered else sorted(children):
            found.update(b"%d\0" % len(child) + child)
        found.update(node.own)
        return found.digest()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Say where in the tree one is, for errors."""
        self._where.append(name)
        try:
            yield
        finally:
            self._where.pop()


# --- what a value is made of -----------------------------------------------------------------------------------------


def _node(value: Any) -> _Node:
    kind = type(value)
    if kind in _SCALARS:
        return _Node(kind.__name__, value if kind is bytes else _text(value))
    if kind in (list, tuple):
        return _Node(kind.__name__, children=((f"[{i}]", item) for i, item in enumerate(value)))
    if kind in (dict, types.MappingProxyType):
        return _Node("dict", children=_items(value))
    if kind in (set, frozenset):
        return _Node(kind.__name__, children=(("an element", item) for item in value), ordered=False)
    if kind in (np.ndarray, np.memmap) or isinstance(value, np.generic):
        return _of_array(np.asarray(value))
    if kind in (bytearray, memoryview):
        return _Node(kind.__name__, bytes(value))
    return _of_code(value) or _of_object(value)


def _text(value: object) -> bytes:
    """Return a scalar as text; integers in hexadecimal, as Python refuses to write long ones in decimals."""
    return (f"{value:x}" if type(value) is int else str(value)).encode("utf-8", "surrogatepass")


def _items(mapping: Any) -> Iterator[tuple[str, Any]]:
    """Yield keys and values in their order, which may stand for that of layers."""
    for key, value in mapping.items():
        yield "a key", key
        yield f"[{key!r}]" if is_plain(key) else "a value", value


def _of_array(a: Any) -> _Node:
    kind = f"array {np.lib.format.dtype_to_descr(a.dtype)} {a.shape}"
    if a.dtype.hasobject:
        return _Node(kind, children=(("an entry", entry) for entry in a.ravel().tolist()))
    return _Node(kind, np.ascontiguousarray(a).reshape(-1).view(np.uint8).data if a.size else b"")


def _of_code(value: Any) -> _Node | None:
    """Return what code is made of: functions, methods, classes, modules; None for what is no code."""
    if isinstance(value, types.FunctionType | type | types.ModuleType) and _found_by_name(value):
        return _named(value)
    if isinstance(value, types.FunctionType):
        return _Node("function", children=_of_function(value))
    if isinstance(value, types.CodeType):
        return _of_bytecode(value)
    if isinstance(value, types.MethodType):
        return _Node("method", children=(("function", value.__func__), ("object", value.__self__)))
    if isinstance(value, types.BuiltinFunctionType):
        owner = () if isinstance(value.__self__, types.ModuleType | None) else (("object", value.__self__),)
        return _Node(f"built-in {value.__module__}.{value.__qualname__}", children=owner)
    if isinstance(value, type):
        return _of_class(value)
    if isinstance(value, types.ModuleType):
        return _of_module(value)
    if isinstance(value, functools.partial):
        keywords = sorted(value.keywords.items())
        return _Node("partial", children=[("function", value.func), ("arguments", value.args), *keywords])
    if isinstance(value, staticmethod | classmethod):
        return _Node(type(value).__name__, children=[("function", value.__func__)])
    if isinstance(value, property):
        return _Node("property", children=[("get", value.fget), ("set", value.fset), ("delete", value.fdel)])
    if isinstance(value, functools.cached_property):
        return _Node("property", children=[("get", value.func)])
    if isinstance(value, types.CellType):
        return _of_cell(value)
    return _named(value) if isinstance(value, _DESCRIPTORS) else None


def _named(value: Any) -> _Node:
    if isinstance(value, types.ModuleType):
        return _Node(f"module {value.__name__}")
    module = getattr(value, "__module__", None) or getattr(value, "__objclass__", value).__module__
    return _Node(f"{type(value).__name__} {module}.{value.__qualname__}")


def _of_cell(cell: types.CellType) -> _Node:
    try:
        return _Node("cell", children=[("", cell.cell_contents)])
    except ValueError:  # a name that has no value yet
        return _Node("empty cell")


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what decides what a function does."""
    yield "code", function.__code__
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from ((f"default {n}", v) for n, v in zip(names[len(names) - len(defaults) :], defaults, strict=True))
    yield from ((f"default {n}", v) for n, v in sorted((function.__kwdefaults__ or {}).items()))
    cells = function.__closure__ or ()
    yield from ((f"closure {n}", c) for n, c in zip(function.__code__.co_freevars, cells, strict=True))
    if not _is_installed(function.__module__):
        held = function.__globals__
        yield from ((f"global {n}", held[n]) for n in sorted(_globals(function.__code__)) if n in held)


def _globals(code: types.CodeType) -> set[str]:
    """Return the names of the globals that a function, or one inside it, reads."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return found.union(*(_globals(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _of_bytecode(code: types.CodeType) -> _Node:
    """Return what a function's code is; where it stands in its file is left out."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    children = [("constants", code.co_consts), ("exceptions", getattr(code, "co_exceptiontable", b""))]
    return _Node(f"code {code.co_name} {counts} {names}", code.co_code, children)


def _of_class(value: type) -> _Node:
    held = [(name, item) for name, item in sorted(vars(value).items()) if name not in _OF_PYTHON]
    bases = ((f"base {i}", base) for i, base in enumerate(value.__bases__))
    return _Node(f"class {value.__qualname__}", children=[("metaclass", type(value)), *bases, *held])


def _of_module(module: types.ModuleType) -> _Node:
    """Return a module's file, and those of the modules that it takes names from."""
    others: set[Any] = {v if isinstance(v, types.ModuleType) else _module_of(v) for v in vars(module).values()} - {
        None,
        module,
    }
    children = [(f"module {m.__name__}", m) for m in sorted(others, key=lambda m: m.__name__) if not _found_by_name(m)]
    return _Node(f"module {module.__name__}", Path(module.__file__).read_bytes(), children)  # type: ignore[arg-type]


def _module_of(value: Any) -> types.ModuleType | None:
    is_code = isinstance(value, types.FunctionType | type)
    return sys.modules.get(value.__module__) if is_code else None


def _of_object(value: Any) -> _Node:
    """Return what an object is made of: what it wraps, its numbers as an array, or what pickle would make it again from."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    for wrapped in ("py_func", "__wrapped__"):  # compiled functions, caches
        inner = getattr(value, wrapped, None)
        if isinstance(inner, types.FunctionType):
            return _Node(kind, children=[("function", inner)])
    if hasattr(value, "detach") and hasattr(
        value, "cpu"
    ):  # a tensor of PyTorch, of which pickle would keep where it lies
        return _Node(kind, children=[("array", np.asarray(value.detach().cpu()))])
    reduce = copyreg.dispatch_table.get(type(value))
    made: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
    if isinstance(made, str):  # a global of its module
        return _Node(f"{kind} {getattr(value, '__module__', '')}.{made}")
    maker, arguments, state, items, pairs = (*made, None, None, None)[:5]
    return _Node(
        kind,
        children=[
            ("maker", maker),
            ("arguments", arguments),
            *_of_state(type(value), state),
            *(("an item", item) for item in items or ()),
            *(piece for pair in pairs or () for piece in (("a key", pair[0]), ("a value", pair[1]))),
        ],
    )


def _of_state(kind: type, state: Any) -> Iterator[tuple[str, Any]]:
    """Yield an object's attributes by their names, without those that it has worked out and could again."""
    if state is not None and not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        yield "state", state
        return
    for name, value in sorted((state or {}).items()):
        if not isinstance(getattr(kind, name, None), functools.cached_property):
            yield f".{name}", value


# --- what is known by its name ---------------------------------------------------------------------------------------


def _found_by_name(value: Any) -> bool:
    """Return whether a function, class or module is part of an installed package and found there by its name."""
    if isinstance(value, types.ModuleType):
        return _is_installed(value.__name__)
    if not _is_installed(value.__module__):
        return False
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value or isinstance(value, type)


def _is_installed(name: str | None) -> bool:
    """Return whether a module is Python's, this package's or an installed one's, rather than the user's own."""
    module = sys.modules.get(name or "")
    if (name or "").partition(".")[0] in sys.stdlib_module_names:
        return True
    file = getattr(module, "__file__", None)
    if module is None or name == "__main__":
        return False
    if file is None:  # built in, or a folder of packages
        return True
    path = Path(file).resolve()
    roots = {Path(sysconfig.get_path(root)).resolve() for root in ("purelib", "platlib", "stdlib")}
    return path.is_relative_to(_PACKAGE) or any(map(path.is_relative_to, roots)) or "site-packages" in path.parts


def _kind(value: object) -> str:
    """Return the type of a value, in words; its text may hold an address."""
    kind = type(value)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
