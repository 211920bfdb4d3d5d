"""How a team's threads share a form: each part is some of its columns, written by the function whose address is published.

The threads that wait for parts of a gradient take these parts as well. They are given the function's arguments by the counters of
their team, where the vectors are addresses.
"""

from __future__ import annotations

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..jit import inlined
from . import team
from .intrinsics import array_at, window
from .placed import none_at

# Arguments of the function: the form, its laws, two vectors, the components and their number.
_ARGUMENTS = 6


@intrinsic
def _vector_at(typingctx, address, size, like):
    """Return the vector of `size` numbers at an address, of the type of those of an array."""
    kind = types.Array(like.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        data = builder.inttoptr(args[0], context.get_data_type(kind.dtype).as_pointer())
        return array_at(context, builder, kind, data, [args[1]])

    return kind(types.int64, types.int64, like), codegen


@inlined
def share(columns, tiles, what, laws_address, a, b, out):
    """Write a form of a and b into `out`, by calls of the function at `columns` for all parts, of which others of the team make some."""
    parts, members = tiles.values.shape[0], tiles.z.shape[0]
    arguments = window(tiles.team, team.ARGUMENTS, _ARGUMENTS)
    arguments[0], arguments[1] = what, laws_address
    arguments[2], arguments[3], arguments[4] = a.ctypes.data, b.ctypes.data, out.ctypes.data
    arguments[5] = out.size
    team.publish(tiles.team, columns)
    part = np.int64(0)
    while part >= 0:
        none_at(columns, (what, laws_address, a, b, out, part, parts))
        team.deliver(tiles.team, part, np.int64(0))
        part = team.next_part(tiles.team, parts, np.int64(0), members)
    team.gather(tiles.team, parts)


@inlined
def assist(tiles, part, x):
    """Write a part of the form that is shared; x (P,) says what the parameters' numbers are."""
    given, P = window(tiles.team, team.ARGUMENTS, _ARGUMENTS), np.int64(x.size)
    a, b = _vector_at(given[2], P, x), _vector_at(given[3], P, x)
    out, parts = _vector_at(given[4], given[5], tiles.values), np.int64(tiles.values.shape[0])
    none_at(tiles.team[team.WANTED], (given[0], given[1], a, b, out, part, parts))
