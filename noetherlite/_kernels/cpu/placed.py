"""Tuples of arrays and numbers, placed in memory and given to compiled code by their address.

A tuple of ten arrays is seventy words. Handing such tuples from function to function costs as much as the arithmetic of a small
network, and compiling that handing over takes longer than compiling the arithmetic: here both cost a word. With
NUMBA_DISABLE_JIT=1 the tuple is its own address.
"""

from __future__ import annotations

import ctypes
import functools
import math
import struct
from typing import Any, NamedTuple, get_type_hints

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model
from numpy.typing import NDArray

from .. import layout, schedule
from .intrinsics import DATA, SHAPE, array_at
from .tiles import empty

_settings: Any = numba.config
_I32 = ir.IntType(32)
_MOST = np.iinfo(np.int64).max
_double, _word = struct.Struct("d").pack, struct.Struct("q").unpack


@functools.cache
def _floats(kind: type) -> tuple[bool, ...]:
    """Return which fields are floats, whatever they were given."""
    return tuple(hint is float for hint in get_type_hints(kind).values())


def _address(array: NDArray[Any]) -> int:
    """Return where an array's data lie; null where it has none."""
    if array.size == 0:
        return 0
    try:  # NumPy's own ways to tell take four times as long
        return ctypes.addressof(_byte(array))
    except TypeError:  # of what cannot be written
        return int(array.__array_interface__["data"][0])


_byte = ctypes.c_char.from_buffer


@functools.lru_cache(maxsize=256)
def _form(fields: tuple[Any, ...], axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the words of a tuple with zeros for its addresses and numbers, and where these are to be filled in.

    A field is (shape, strides, size of an item) of an array, of which axes before `axis` are left out, or how many numbers it has.
    """
    out: list[int] = []
    gaps: list[int] = []
    for field in fields:
        if isinstance(field, int):
            gaps += range(len(out), len(out) + field)
            out += [0] * field
        else:
            shape, strides, itemsize = field
            gaps.append(len(out) + DATA)
            out += (0, 0, math.prod(shape[axis:]), itemsize, 0, *shape[axis:], *strides[axis:])
    return np.array(out, np.int64), np.array(gaps)


def words(group: NamedTuple, of_first: bool = False) -> NDArray[np.int64]:
    """Return a tuple of arrays, integers and floats as numba has it in memory (of tuples, those of floats), without references to the arrays.

    An array is: two pointers to its owner, which are null here, size, size of an item, pointer to the data, shape, strides;
    with `of_first` array[0] takes the place of each array.
    """
    fields: list[Any] = []
    values: list[int] = []
    for value, is_float in zip(group, _floats(type(group)), strict=True):
        if isinstance(value, np.ndarray):
            fields.append((value.shape, value.strides, value.itemsize))
            values.append(_address(value))
        elif isinstance(value, tuple):
            fields.append(len(value))
            values += [_word(_double(part))[0] for part in value]
        else:
            fields.append(1)
            number = _word(_double(value))[0] if is_float else int(value)
            values.append(number - (1 << 64) if number > _MOST else number)
    form, gaps = _form(tuple(fields), int(of_first))
    out = form.copy()
    out[gaps] = values
    return out


@functools.lru_cache(maxsize=64)
def _form_of_block(kind: type[Any], block: np.dtype[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
    """Return the words of a block's first run, from its address on; 1 where a word is an address, else 0; and where numbers go."""
    arrays = {name: np.zeros((), block)[name] for name in block.names or ()}
    fields = [arrays.get(name) for name in kind._fields]
    offsets, gaps = _form(tuple(1 if a is None else (a.shape, a.strides, a.itemsize) for a in fields), 1)
    offsets, addresses = offsets.copy(), np.zeros_like(offsets)
    for gap, (name, array) in zip(gaps[-len(arrays) :], arrays.items(), strict=True):
        if array.size:
            offsets[gap], addresses[gap] = block.fields[name][1], 1  # type: ignore[index]
    return offsets, addresses, gaps[: -len(arrays)].tolist()


def _words_of_first(group: Any) -> NDArray[np.int64]:
    """Return the words of the first run's part of a tuple of numbers, before arrays with a leading axis of runs."""
    numbers, arrays = [v for v in group if type(v) is int], [v for v in group if type(v) is not int]
    block = arrays[0].base
    if block is None or not all(array.base is block for array in arrays):
        return words(group, of_first=True)
    offsets, addresses, places = _form_of_block(type(group), block.dtype)
    out = addresses * _address(arrays[0])
    out += offsets
    for place, number in zip(places, numbers, strict=True):
        out[place] = number
    return out


class Placed:
    """A tuple in memory; what it holds stays there for as long as this object does.

    Parameters
    ----------
    group : NamedTuple
        Arrays that are C-contiguous, integers and floats.

    Attributes
    ----------
    group : NamedTuple
        The tuple.
    address : int
        Where it lies; without the compiler, the tuple.
    """

    def __init__(self, group: Any) -> None:
        self.group, self.address = group, group
        if not _settings.DISABLE_JIT:
            self._words = words(group)
            self.address = _address(self._words)


class PlacedRuns:
    """One run's part of a tuple whose arrays have a leading axis of runs, in memory: that of any run, one at a time.

    Parameters
    ----------
    group : layout.State or layout.Records
        Arrays that are C-contiguous, integers and floats.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._words = _words_of_first(group)
        self._several = len(group.loss) > 1
        if self._several:
            self._first, self._step = self._words.copy(), words(layout.views(group, 1)) - self._words

    def at(self, e: int) -> Any:
        """Return the address of run e's part; without the compiler, the part."""
        if _settings.DISABLE_JIT:
            return layout.views(self._group, e)
        if self._several:
            np.add(self._first, e * self._step, out=self._words)
        return _address(self._words)


class At(types.Type):
    """The type of a tuple that is given by its address: one word, of which a field is read where it is used."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(name=f"At({kind})")

    def __getitem__(self, name: str) -> Any:
        """Return the type of a field."""
        return self.kind.types[self.kind.fields.index(name)]


register_model(At)(lambda manager, at: models.IntegerModel(manager, types.int64))


@infer_getattr
class _Fields(AttributeTemplate):
    key = At

    def generic_resolve(self, at, name):
        return at[name]


def loader(context, builder, at, address, name):
    """Return the function that loads a word of a field, of an array by what it is.

    `invariant`, so that it is loaded once, though for all LLVM knows stores to arrays might change it.
    """
    place = 0, at.kind.fields.index(name)
    tuple_at = builder.inttoptr(address, context.get_value_type(at.kind).as_pointer())

    def load(*path):
        value = builder.load(builder.gep(tuple_at, [_I32(i) for i in (*place, *path)]))
        value.set_metadata("invariant.load", builder.module.add_metadata([]))
        return value

    return load


@lower_getattr_generic(At)
def field(context, builder, at, address, name):
    """Load a field."""
    kind, load = at[name], loader(context, builder, at, address, name)
    if isinstance(kind, types.Array):
        return array_at(context, builder, kind, load(DATA), [load(SHAPE, k) for k in range(kind.ndim)])
    if isinstance(kind, types.UniTuple):
        return context.make_tuple(builder, kind, [load(k) for k in range(kind.count)])
    return load()


def _tuple_at(example: Any) -> Any:
    """Return address, array ↦ the tuple at `address`, of the type of example(dtype of array)."""

    @intrinsic
    def at(typingctx, address, array):
        def codegen(context, builder, signature, args):
            return args[0]

        return At(numba.typeof(example(str(array.dtype))))(types.int64, array), codegen

    return (lambda address, array: address) if _settings.DISABLE_JIT else at


def address_of_code(function: Any, signature: tuple[Any, ...]) -> Any:
    """Return where the machine code of a compiled function lies; it is compiled, or read from disk, if need be.

    Without the compiler the function is its own address.
    """
    if _settings.DISABLE_JIT:
        return function
    if signature not in function.overloads:
        function.compile(signature)
    compiled = function.overloads[signature]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def _call_returning(result: Any) -> Any:
    """Return address, arguments ↦ what the compiled function at `address` returns, which is of type `result`.

    A function called by name is linked into its caller and optimised once more there, which for a network takes as long as
    compiling it.
    """

    @intrinsic
    def call(typingctx, address, arguments):
        def codegen(context, builder, signature, args):
            kinds = signature.args[1].types
            convention = context.call_conv.get_function_type(result, kinds)
            pointer = builder.inttoptr(args[0], convention.as_pointer())
            values = cgutils.unpack_tuple(builder, args[1], len(kinds))
            _, returned = context.call_conv.call_function(builder, pointer, result, kinds, values)
            return returned

        return result(types.int64, arguments), codegen

    return (lambda address, arguments: address(*arguments)) if _settings.DISABLE_JIT else call


float64_at, none_at = _call_returning(types.float64), _call_returning(types.none)


def _problem(dtype: str) -> layout.Problem:
    return layout.analytic(layout.NETWORK, np.empty((0, 0)), dtype)


def _laws(dtype: str) -> layout.Laws:
    none, matrix = np.empty(0, np.int64), np.empty((0, 0), dtype)
    return layout.Laws(
        none,
        none,
        np.empty((0, 0), np.int64),
        np.empty(0, dtype),
        np.empty((0, 0, 0)),
        np.empty((0, 0)),
        none,
        0,
        matrix,
    )


problem_at = _tuple_at(_problem)
tiles_at = _tuple_at(lambda dtype: empty(_problem(dtype), 1))
algorithm_at = _tuple_at(lambda dtype: layout.Algorithm(0, *[0.0] * 7, clip=0.0))
laws_at = _tuple_at(_laws)
batches_at = _tuple_at(lambda dtype: layout.Batches(1, np.uint64(0), np.empty(1, np.int64)))
program_at = _tuple_at(lambda dtype: schedule.Program(np.empty((1, 6), np.int64), 0, 0))
state_at = _tuple_at(lambda dtype: layout.views(layout.new_states(1, 1, 1, dtype), 0))
records_at = _tuple_at(lambda dtype: layout.views(layout.new_records(1, 1, 1, np.empty((1, 0, 0), dtype)), 0))
