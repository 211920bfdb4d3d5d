"""The machine code that kernels become on a GPU of today, made without one: it keeps its numbers in registers and calls nothing."""

import math
import re

import numpy as np
import pytest
from numba import config, cuda

import noetherlite as nl
from noetherlite._base import gpu
from noetherlite._kernels.cuda import device_layout, scalars
from noetherlite._problem.catalogue import EXAMPLES
from noetherlite._run import device
from noetherlite._run import plan as _run
from noetherlite._run.runs import Runs
from noetherlite._symmetry.find import watched as families

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_jit,
    pytest.mark.skipif(bool(config.ENABLE_CUDASIM), reason="the simulator compiles nothing"),
]
LEAPFROG = nl.Leapfrog(1e-3)
cuda_code = pytest.importorskip("cuda_code", reason="needs the extra 'cuda'")


@pytest.fixture
def arguments(monkeypatch):
    """dtype, spread ↦ what kernels are given for the benchmarks' ensemble network, in the host's memory."""
    monkeypatch.setattr(gpu, "require", lambda: None)
    monkeypatch.setattr(device, "free_memory", lambda: np.inf)
    monkeypatch.setattr(device, "shared_memory", lambda default, blocks: default)
    monkeypatch.setattr(cuda, "to_device", lambda a: a)
    monkeypatch.setattr(cuda, "device_array", np.zeros)

    def make(dtype, spread=False):
        monkeypatch.setattr(device, "SPREAD_FROM", 0 if spread else 1e12)
        net = nl.Network([10, 16, 16, 3])
        rng = np.random.default_rng(0)
        U = net.potential(rng.standard_normal((64, 10)), rng.integers(0, 3, 64))
        watched = families(U, "all", minibatches=False)
        options = {"batch_size": None, "backend": "cuda", "dtype": dtype, "steps": 5, "reduce": False}
        plan = _run.Plan(U, watched, **options)
        x = net.init(rng=0).astype(dtype)
        records, streams = plan.records(1, 5, 1, with_params=True), (_run.stream(plan, 0),)
        runs = Runs(plan, (LEAPFROG,), x[None], 0 * x[None], 0.0, records, streams)
        fleet = device.Fleet(runs)
        return fleet.placing, fleet._upload()[1], scalars.of(plan.problem, LEAPFROG.method)

    return make


def typed(*arguments):
    from numba.cuda.typing.typeof import typeof

    return tuple(typeof(a) for a in arguments)


def check(code):
    assert code.cubin[:4] == b"\x7fELF"
    assert (code.spill_stores, code.spill_loads, code.stack) == (0, 0, 0)
    # What is left of the power of a double, which has no instruction of its own.
    assert set(code.calls) <= {"__internal_accurate_pow"}
    # Instructions of a few digits; those of ex2 and rcp are the first steps of exact functions of doubles.
    assert not re.search(r"(tanh|lg2|div|sqrt|sin|cos)\.approx", code.ptx)


@pytest.mark.parametrize(
    ("where", "dtype"),
    [
        (device_layout.IN_SHARED, "float64"),
        (device_layout.IN_SHARED, "float32"),
        (device_layout.VECTORS_IN_SHARED, "float64"),
        (device_layout.IN_GLOBAL, "float64"),
    ],
)
def test_a_blocks_kernel_spills_nothing(where, dtype, arguments):
    from noetherlite._kernels.cuda import block

    placing, (settings, *rest), functions = arguments(dtype)
    assert placing.where == device_layout.IN_SHARED  # the network that ensembles are timed with
    check(cuda_code.assembled(block.kernels(functions)[where], typed(settings[0], *rest, 5)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_kernels_of_a_launch_a_phase_spill_nothing(dtype, arguments):
    from noetherlite._kernels.cuda import phases, products

    _, (settings, rates, state, scratch, records), functions = arguments(dtype, spread=True)
    of_network = phases.kernels(functions)
    setting, x, memory = settings[0], scratch.vectors[0], scratch.memory[0]
    layer = (setting.problem, setting.tables.places, 1, x, memory, 64)
    check(cuda_code.assembled(of_network.phase, typed(setting, rates, state, scratch, records, 0, 1)))
    check(cuda_code.assembled(phases.begin, typed(setting, state, scratch, 0)))
    check(cuda_code.assembled(phases.end, typed(setting, state, scratch, 0)))
    check(
        cuda_code.assembled(
            phases.gather, typed(setting.data, 10, setting.batches.order[0], state.counts, 0, 64, memory)
        )
    )
    check(cuda_code.assembled(of_network.activate, typed(*layer)))
    check(cuda_code.assembled(of_network.d_activate, typed(*layer)))
    check(cuda_code.assembled(phases.row_sums, typed(memory, 0, 64, x, 0, 1.0)))
    matrix = (0, 8, 1)
    code = cuda_code.assembled(products.tiled, typed(x, *matrix, memory, *matrix, memory, 0, 8, 8, 8))
    check(code)
    assert code.registers <= 255


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_activation_is_code_of_a_gpu(dtype, arguments):
    from noetherlite._kernels.cuda import phases

    _, (settings, _, state, scratch, _), _ = arguments(dtype, spread=True)
    net = nl.Network([2] * (len(EXAMPLES) + 2), EXAMPLES)  # all of them in one kernel
    functions = scalars.of(net.potential(np.zeros((1, 2)), [0]).problem(dtype), LEAPFROG.method)
    of_network = phases.kernels(functions)
    layer = (settings[0].problem, settings[0].tables.places, 1, state.x[0], scratch.memory[0], 64)
    check(cuda_code.assembled(of_network.activate, typed(*layer)))
    check(cuda_code.assembled(of_network.d_activate, typed(*layer)))


def test_the_checks_can_fail():
    """Negative control: a kernel with more numbers than registers, one that calls itself, one of approximations."""

    @cuda.jit(max_registers=32)
    def greedy(a):
        numbers = cuda.local.array(96, np.float64)
        for i in range(96):
            numbers[i] = a[i]
        cuda.syncthreads()
        for i in range(96):
            for k in range(96):
                a[i] += numbers[k] * numbers[(i * k) % 96]

    @cuda.jit(device=True)
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    @cuda.jit
    def calling(a):
        a[0] = factorial(int(a[1]))

    @cuda.jit(fastmath=True)
    def approximating(a):
        a[0] = math.tanh(a[1])

    a = np.zeros(96)
    assert "tanh.approx" in cuda_code.assembled(approximating, typed(a.astype(np.float32))).ptx
    assert cuda_code.assembled(greedy, typed(a)).stack > 0
    assert cuda_code.assembled(calling, typed(a)).calls
