"""Content hashes: the SHA-256 of a Python value, the same in every process, independent of its name and address.

A value is hashed as a tree. Numbers, strings and arrays are leaves, hashed as bytes; the children of a function are its
bytecode, defaults, closure and the globals that it reads; those of any other object are what `__reduce_ex__` returns, without
pickling or unpickling anything. Functions and classes of installed packages, this one included, are hashed by name: their
versions are kept beside the results.
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
# Entries of a class's namespace that Python adds.
_OF_PYTHON = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
}


class UnidentifiedError(TypeError):
    """A value has no content that can be hashed; the message says which value and why."""


class _Node(NamedTuple):
    """One value of the tree: its kind, its content as bytes, and its children as pairs (name, value)."""

    kind: str
    content: Any = b""
    children: Iterable[tuple[str, Any]] = ()
    ordered: bool = True


def digest(value: object) -> str:
    """Return the SHA-256 of a value's content, in hexadecimal.

    UnidentifiedError if the value, or one that it holds, cannot be identified: a lock, an open file, a generator.
    """
    return _Reader().digest(value).hex()


def parts(function: Callable[..., Any]) -> dict[str, str]:
    """Return the digests of a function's parts by name: code, defaults, closure, globals, bound arguments; errors as `digest`."""
    reader, digests = _Reader(), {}
    for name, value in _parts(function):
        with reader.inside(name):
            digests[name] = reader.digest(value).hex()
    return digests


def identified_by_name(function: Callable[..., Any]) -> bool:
    """Return whether name and bound arguments identify a function: an installed one, bound to plain values only."""
    while isinstance(function, functools.partial):
        if not (is_plain(list(function.args)) and is_plain(function.keywords)):
            return False
        function = function.func
    return isinstance(function, types.FunctionType) and _is_named(function)


def is_plain(value: object) -> bool:
    """Return whether `repr` shows all of a value: numbers, strings, None, and lists and dicts of these."""
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
    elif isinstance(function, types.FunctionType) and not _is_named(function):
        yield from _of_function(function)
    else:
        yield "code", function


class _Reader:
    """Hashes each value of a tree once; a value that contains itself is hashed there by its depth."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._ancestors: dict[int, int] = {}
        # The values are kept with their digests: otherwise an id could be used again.
        self._digests: dict[int, tuple[object, bytes]] = {}

    def digest(self, value: object) -> bytes:
        number = id(value)
        if number in self._digests:
            return self._digests[number][1]
        if number in self._ancestors:
            return b"held by itself %d" % self._ancestors[number]
        self._ancestors[number] = len(self._ancestors)
        try:
            digest = self._hash(_node(value))
        except UnidentifiedError:
            raise
        except Exception as error:  # whatever an object's own methods raise
            names = [name for name in reversed(self._path) if name] or ["it"]
            place = " of ".join([*names[:3], "…", names[-1]] if len(names) > 4 else names)
            raise UnidentifiedError(f"{place} is {_kind(value)}, which cannot be identified: {error}") from None
        finally:
            del self._ancestors[number]
        self._digests[number] = value, digest
        return digest

    def _hash(self, node: _Node) -> bytes:
        children = []
        for name, child in node.children:
            with self.inside(name):
                children.append(name.encode() + b"\0" + self.digest(child))
        sha = hashlib.sha256(f"{node.kind}\0{len(children)}\0".encode())
        for child in children if node.ordered else sorted(children):
            sha.update(b"%d\0" % len(child) + child)
        sha.update(node.content)
        return sha.digest()

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Add a name to the path in the tree, for error messages."""
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()


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
    """Yield keys and values in order: the order of a dict may be that of layers."""
    for key, value in mapping.items():
        yield "a key", key
        yield f"[{key!r}]" if is_plain(key) else "a value", value


def _of_array(a: Any) -> _Node:
    kind = f"array {np.lib.format.dtype_to_descr(a.dtype)} {a.shape}"
    if a.dtype.hasobject:
        return _Node(kind, children=(("an entry", entry) for entry in a.ravel().tolist()))
    return _Node(kind, np.ascontiguousarray(a).reshape(-1).view(np.uint8).data if a.size else b"")


def _of_code(value: Any) -> _Node | None:
    """Return the node of a function, method, class or module; None for any other value."""
    if isinstance(value, types.FunctionType | type | types.ModuleType) and _is_named(value):
        return _name_node(value)
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
    return _name_node(value) if isinstance(value, _DESCRIPTORS) else None


def _name_node(value: Any) -> _Node:
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
    """Yield code, defaults, closure and globals of a function."""
    yield "code", function.__code__
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from ((f"default {n}", v) for n, v in zip(names[len(names) - len(defaults) :], defaults, strict=True))
    yield from ((f"default {n}", v) for n, v in sorted((function.__kwdefaults__ or {}).items()))
    cells = function.__closure__ or ()
    yield from ((f"closure {n}", c) for n, c in zip(function.__code__.co_freevars, cells, strict=True))
    if not _is_installed(function.__module__):
        namespace = function.__globals__
        yield from ((f"global {n}", namespace[n]) for n in sorted(_globals(function.__code__)) if n in namespace)


def _globals(code: types.CodeType) -> set[str]:
    """Return the names of the globals that a function and its inner functions read."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _of_bytecode(code: types.CodeType) -> _Node:
    """Return the node of a function's bytecode, without file name and line numbers."""
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    children = [("constants", code.co_consts), ("exceptions", getattr(code, "co_exceptiontable", b""))]
    return _Node(f"code {code.co_name} {counts} {names}", code.co_code, children)


def _of_class(value: type) -> _Node:
    attributes = [(name, item) for name, item in sorted(vars(value).items()) if name not in _OF_PYTHON]
    bases = ((f"base {i}", base) for i, base in enumerate(value.__bases__))
    return _Node(f"class {value.__qualname__}", children=[("metaclass", type(value)), *bases, *attributes])


def _of_module(module: types.ModuleType) -> _Node:
    """Return the node of a module: its source file, and the modules that it imports names from."""
    modules: set[Any] = {v if isinstance(v, types.ModuleType) else _module_of(v) for v in vars(module).values()} - {
        None,
        module,
    }
    children = [(f"module {m.__name__}", m) for m in sorted(modules, key=lambda m: m.__name__) if not _is_named(m)]
    return _Node(f"module {module.__name__}", Path(module.__file__).read_bytes(), children)  # type: ignore[arg-type]


def _module_of(value: Any) -> types.ModuleType | None:
    is_code = isinstance(value, types.FunctionType | type)
    return sys.modules.get(value.__module__) if is_code else None


def _of_object(value: Any) -> _Node:
    """Return the node of an object: the function it wraps, its array, or the parts that pickle would store."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    for wrapped in ("py_func", "__wrapped__"):  # compiled functions, caches
        inner = getattr(value, wrapped, None)
        if isinstance(inner, types.FunctionType):
            return _Node(kind, children=[("function", inner)])
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor of PyTorch, whose pickle contains its device
        return _Node(kind, children=[("array", np.asarray(value.detach().cpu()))])
    reduce = copyreg.dispatch_table.get(type(value))
    reduced: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
    if isinstance(reduced, str):  # a global of its module
        return _Node(f"{kind} {getattr(value, '__module__', '')}.{reduced}")
    maker, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
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
    """Yield an object's attributes by name, without cached properties."""
    if state is not None and not (isinstance(state, dict) and all(isinstance(name, str) for name in state)):
        yield "state", state
        return
    for name, value in sorted((state or {}).items()):
        if not isinstance(getattr(kind, name, None), functools.cached_property):
            yield f".{name}", value


# --- identification by name ------------------------------------------------------------------------------------------


def _is_named(value: Any) -> bool:
    """Return whether a function, class or module belongs to an installed package and can be looked up there by name."""
    if isinstance(value, types.ModuleType):
        return _is_installed(value.__name__)
    if not _is_installed(value.__module__):
        return False
    target: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        target = getattr(target, name, None)
    return target is value or isinstance(value, type)


def _is_installed(name: str | None) -> bool:
    """Return whether a module belongs to Python, this package or an installed one, not to the user's own code."""
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
    """Return the name of a value's type, for messages: its repr may contain an address."""
    kind = type(value)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
