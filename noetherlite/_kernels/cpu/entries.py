"""Entries of a state's arrays, as many at a time as a rule reads or writes of one coordinate or of one component.

Most of what is compiled for an algorithm is loops over them, and to read an entry after the other makes these take twice as long.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..schedule import CROSS, MOVED, PULL, SQUARE
from .intrinsics import DATA, SHAPE
from .placed import loader

# Places that rules read and write: rows of `scratch` by their number, and fields of a state. No two of them overlap.
FORMS = (SQUARE, PULL, MOVED, CROSS)
SUMS = ("origin", "integral", "balance", "source", "charge")
VECTORS = {"x": "x", "v": "v", "g": "gradient", "y": "y", "moment": "moment"}  # by their names in a rule
_PLACES: tuple[Any, ...] = (*FORMS, *SUMS, *VECTORS.values())


def _apart(builder: Any, instruction: Any, place: Any) -> Any:
    """Say that an instruction reads or writes a place that does not overlap with the others.

    LLVM can tell by itself, at run time, that a few arrays do not, and uses no vectors in loops over more of them.
    """
    # LLVM 15 keeps the mark `invariant` of loads that it makes gathers of, and refuses it there.
    if llvm_version_info < (16,):
        return instruction
    module, number = builder.module, _PLACES.index(place)

    def metadata(*entries: Any) -> Any:
        return module.add_metadata(list(entries))

    domain = metadata(ir.MetaDataString(module, "apart"))
    scopes = [metadata(ir.MetaDataString(module, f"apart {i}"), domain) for i in range(len(_PLACES))]
    instruction.set_metadata("alias.scope", metadata(scopes[number]))
    instruction.set_metadata("noalias", metadata(*(scopes[:number] + scopes[number + 1 :])))
    return instruction


def _name(place: Any) -> str:
    """Return the name of the array that a place is in."""
    return "scratch" if place in FORMS else place


def _pointer(context: Any, builder: Any, kind: Any, state: Any, place: Any, i: Any) -> Any:
    load = loader(context, builder, kind, state, _name(place))
    if place in FORMS:
        i = builder.add(builder.mul(ir.Constant(i.type, place), load(SHAPE, 1)), i)
    return builder.gep(load(DATA), [i])


@functools.cache
def entries(*places: Any) -> Any:
    """Return the function state, i ↦ entry i of each place, a tuple; 0 for those that are None, the last of them."""
    if numba.config.DISABLE_JIT:
        if places == FORMS:
            return lambda state, i: state.scratch[list(FORMS), i]
        names = [place for place in places if place is not None]
        none = (0.0,) * places.count(None)
        return lambda state, i: (*[getattr(state, name)[i] for name in names], *none)

    @intrinsic
    def read(typingctx, state, i):
        kinds = [types.float64 if place is None else state[_name(place)].dtype for place in places]

        def codegen(context, builder, signature, args):
            values = []
            for place, kind in zip(places, kinds, strict=True):
                if place is None:
                    values.append(context.get_constant(kind, 0.0))
                else:
                    pointer = _pointer(context, builder, signature.args[0], args[0], place, args[1])
                    values.append(_apart(builder, builder.load(pointer), place))
            return context.make_tuple(builder, signature.return_type, values)

        return types.Tuple(kinds)(state, types.int64), codegen

    return read


@functools.cache
def set_entries(*places: Any) -> Any:
    """Return the function state, i, values ↦ None, which sets entry i of each place."""
    if numba.config.DISABLE_JIT:

        def assign(state: Any, i: int, values: Any) -> None:
            for place, value in zip(places, values, strict=True):
                getattr(state, place)[i] = value

        return assign

    @intrinsic
    def write(typingctx, state, i, values):
        def codegen(context, builder, signature, args):
            kind, _, numbers = signature.args
            for place, value, number in zip(places, cgutils.unpack_tuple(builder, args[2]), numbers.types, strict=True):
                pointer = _pointer(context, builder, kind, args[0], place, args[1])
                value = context.cast(builder, value, number, kind[_name(place)].dtype)
                _apart(builder, builder.store(value, pointer), place)
            return context.get_dummy_value()

        return types.void(state, types.int64, values), codegen

    return write
