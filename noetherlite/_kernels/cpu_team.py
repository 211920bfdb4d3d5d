"""How several threads share one gradient: parts of the samples, claimed one by one, summed in a fixed order.

A part is a fixed range of samples, whatever the number of threads, so that results do not depend on it. Threads meet at two
counters in memory, a fraction of a microsecond away from each other; who finds no part left, waits. A thread that comes
late, or never, only leaves more parts to the others.
"""

from __future__ import annotations

import sys

import numba
from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic

from ._jit import compiled

# Where the counters lie in an array of int64: each on a cache line that nothing else is written to.
TICKET, DONE, WANTED, SIZE = 0, 16, 32, 48
# A ticket is the number of the evaluation and that of the next part to be claimed.
_EVALUATION, _PART = 1 << 32, (1 << 32) - 1
CLOSED = _PART  # as a ticket: nothing to claim, as no part has this number
HOME = -(1 << 62)  # as a ticket: all work is over
_SPINS = 4096  # looks at a counter before the processor is offered to others

_give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


def _address(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _load(typingctx, array, i):
    """Return array[i], after which nothing is read that was read before it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_address(context, builder, signature, args), "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def _store(typingctx, array, i, value):
    """Set array[i] once everything written before is visible."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _address(context, builder, signature, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic
def _add(typingctx, array, i, value):
    """Return array[i] and add `value` to it, in one step."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _address(context, builder, signature, args), args[2], "seq_cst")

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

    def _add(array, i, value):
        array[i] += value
        return array[i] - value

    def _pause():
        pass

    def _give_way():
        pass


@compiled
def _wait(spins):
    if spins % _SPINS == _SPINS - 1:
        _give_way()
    else:
        _pause()
    return spins + 1


@compiled
def publish(team, wanted):
    """Open a new evaluation's parts; `wanted` is for the others to read."""
    team[WANTED] = wanted
    _store(team, DONE, 0)
    evaluation = _load(team, TICKET) // _EVALUATION  # of a ticket that says go home, some number
    _store(team, TICKET, (max(evaluation, 0) + 1) % (1 << 30) * _EVALUATION)


@compiled
def claim(team, n_parts):
    """Return a part that nobody has yet, −1 if there is none, −2 if all work is over."""
    ticket = _load(team, TICKET)
    if ticket < 0:
        return -2
    if ticket & _PART >= n_parts:
        return -1
    ticket = _add(team, TICKET, 1)
    if ticket < 0:
        return -2
    part = ticket & _PART
    return part if part < n_parts else -1


@compiled
def next_part(team, n_parts, member):
    """Return a part to evaluate; the leader, member 0, gets a negative number when all are claimed, others wait."""
    spins, part = 0, claim(team, n_parts)
    while part == -1 and member > 0:
        spins = _wait(spins)
        part = claim(team, n_parts)
    return part


@compiled
def deliver(team):
    """Say that a claimed part is done."""
    _add(team, DONE, 1)


@compiled
def gather(team, n_parts):
    """Wait until all parts are done."""
    spins = 0
    while _load(team, DONE) < n_parts:
        spins = _wait(spins)
