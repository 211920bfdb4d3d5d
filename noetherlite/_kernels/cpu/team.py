"""How several threads share one gradient: parts of the samples, claimed one by one, summed in a fixed order.

A part is a fixed range of samples, whatever the number of threads, so that results do not depend on it. Threads meet at
counters in memory, a fraction of a microsecond away from each other, half of one where they do not share a cache: as few lines as
can be go from one to another. The first part is the leader's. Each thread first claims parts of its own, whose memory is in its
caches already, then those that nobody has come for: a thread that is late, or never comes, only leaves more parts to the others.
"""

from __future__ import annotations

import sys

import numba
from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import inlined
from .intrinsics import data_of

# Where the counters lie in an array of int64, on cache lines (and those fetched with them) that nothing else is on: the number of
# the evaluation that is open, what is wanted of it, and arguments of that, for every part the last evaluation it was claimed for and
# the last it was done for, for every member the last one it has seen.
MOST, _LINE = 16, 16
OPEN, WANTED, ARGUMENTS = range(3)
VALUE, GRADIENT = 0, 1  # as what is wanted; else it is the address of a function
_CLAIMED, _DONE = _LINE, _LINE + 1
_SEEN = _LINE + MOST * _LINE
SIZE = _SEEN + MOST * _LINE
CLOSED, HOME = 0, -1  # as the evaluation that is open: none yet; none any more
_SPINS = 4096  # looks at a counter before the processor is offered to others

_give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


def _address(builder, args):
    return builder.gep(data_of(builder, args[0]), [args[1]])


@intrinsic
def _load(typingctx, array, i):
    """Return array[i], after which nothing is read that was read before it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_address(builder, args), "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def _store(typingctx, array, i, value):
    """Set array[i] once everything written before is visible."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _address(builder, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic
def _max(typingctx, array, i, value):
    """Return array[i], which becomes max(array[i], value) in the same step."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("max", _address(builder, args), args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx):
    """Tell an x86 processor that this is a loop that waits."""

    def codegen(context, builder, signature, args):
        if binding.get_process_triple().startswith("x86_64"):
            function = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), function), [])
        return context.get_dummy_value()

    return types.void(), codegen


if numba.config.DISABLE_JIT:  # one thread, then

    def _load(array, i):
        return array[i]

    def _store(array, i, value):
        array[i] = value

    def _max(array, i, value):
        before, array[i] = array[i], max(array[i], value)
        return before

    def _pause():
        pass

    def _give_way():
        pass


@inlined
def _wait(spins):
    if spins % _SPINS == _SPINS - 1:
        _give_way()
    else:
        _pause()
    return spins + 1


@inlined
def publish(team, wanted):
    """Open a new evaluation's parts; `wanted` is for the others to read."""
    team[WANTED] = wanted
    team[_SEEN] += 1
    _store(team, OPEN, team[_SEEN])


@inlined
def _claim(team, part, evaluation):
    claim = _CLAIMED + part * _LINE
    return _load(team, claim) < evaluation and _max(team, claim, evaluation) < evaluation


@inlined
def next_part(team, n_parts, member, members):
    """Return a part to evaluate; the leader, member 0, gets −1 when all are claimed, the others wait until sent home."""
    seen = _SEEN + member * _LINE
    spins = 0
    while True:
        for part in range(member if member > 0 else members, n_parts, members):
            if _claim(team, part, team[seen]):
                return part
        for part in range(1, n_parts):
            if _claim(team, part, team[seen]):
                return part
        if member == 0:
            return -1
        evaluation = _load(team, OPEN)
        while 0 <= evaluation <= team[seen]:
            spins = _wait(spins)
            evaluation = _load(team, OPEN)
        if evaluation < 0:
            return -1
        team[seen] = evaluation


@inlined
def deliver(team, part, member):
    """Say that a part is done."""
    _store(team, _DONE + part * _LINE, team[_SEEN + member * _LINE])


@inlined
def gather(team, n_parts):
    """Wait until all parts but the leader's are done."""
    spins = 0
    for part in range(1, n_parts):
        while _load(team, _DONE + part * _LINE) < team[_SEEN]:
            spins = _wait(spins)
