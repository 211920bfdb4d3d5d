"""backend="cuda" against the CPU: on a GPU where there is one, else in numba's simulator, in a process of its own.

The simulator runs kernels as Python, thread by thread: it finds what is out of bounds, or computed wrongly, not races.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import numba
import numpy as np
import pytest
from algorithms import start
from problems import EPS, FIELDS, problem, verdicts

import noetherlite as nl
from noetherlite._base import gpu
from noetherlite._kernels.cuda import device_layout
from noetherlite._problem.catalogue import EXAMPLES
from noetherlite._run import device, drive

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
STEPS = 3
ALGORITHMS = [
    nl.GD(0.005, weight_decay=0.1), nl.HeavyBall(0.005, 0.5, weight_decay=0.1), nl.Leapfrog(1e-3), nl.NAGD(1e-3),
    nl.ConformalLeapfrog(1e-3, mass=2.0, gamma=0.3, alpha=2.0, weight_decay=0.1),
]  # fmt: skip
OPTIMISERS = [
    nl.Nesterov([0.005, 0.0, 0.01], 0.5, weight_decay=0.1), nl.Adam(0.005, weight_decay=0.1, clip=0.05, decoupled=False), nl.RMSProp(0.005), nl.AdaGrad(0.005, 0.1),
    nl.Lion(0.005, weight_decay=0.1), nl.SignGD(0.005, 0.5), nl.HeavyBall(0.005, 0.5, 0.2, first_step_damped=False),
    nl.SteepestDescent(0.005, 3.0), nl.ExponentiatedGradient(0.005, 0.5, weight_decay=0.1),
    nl.SGLD([0.005, 0.01, 0.005], 0.1, weight_decay=0.1), nl.BAOAB(1e-3, 0.1, 0.3, 2.0, weight_decay=0.1),
]  # fmt: skip
INTEGRATORS = [
    nl.Yoshida(1e-3, weight_decay=0.1), nl.Yoshida(1e-3, 6, gamma=0.3, alpha=1.0), nl.RK4(0.01, weight_decay=0.1),
    nl.ProjectedGD(0.01, weight_decay=0.1), nl.ProjectedGD({"W1": 0.01, "rest": 0.005}), nl.ImplicitMidpoint(0.01, iterations=3, weight_decay=0.1), nl.ImplicitMidpoint(1e-3, "ND", 3, weight_decay=0.1),
]  # fmt: skip
BLOCKS = {"lr": {"W1": 0.01, "rest": 0.005}, "weight_decay": {"b2": 0.1}}
SETTINGS = [
    nl.GD(**BLOCKS, clip=0.05), nl.NAGD(**BLOCKS), nl.Adam(**BLOCKS), nl.HeavyBall(0.005, weight_decay=0.1, grad_accumulation=2),
    nl.SAM(nl.GD(0.005, weight_decay=0.1)), nl.SAM(nl.Lion(0.005)), nl.ConformalLeapfrog([1e-3, 0.0, 2e-3], mass=2.0, gamma=0.3, alpha=2.0),
    nl.NAGD([1e-3, 2e-3, 3e-3]), nl.Yoshida({"W1": 0.01, "rest": 0.005}), nl.Muon(**BLOCKS), nl.SAM(nl.Muon(0.005, nesterov=False, weight_decay=0.1)),
    nl.SGLD(**BLOCKS, temperature=0.1), nl.BAOAB({"W1": [2e-3, 0.0, 4e-3], "rest": [1e-3, 0.0, 2e-3]}, 0.1, 0.3, 2.0),
    nl.ImplicitMidpoint([1e-3, 0.0, 2e-3], "ND", 3), nl.ImplicitMidpoint(0.01, iterations=3, grad_accumulation=2),
]  # fmt: skip
ACTIVATIONS = [
    "linear(0.7)", "relu", "leaky_relu(0.1)", "polynomial(2)", "polynomial(3)", "repu(1.5)", "swish", "swish(1.3)", "tanh",
]  # fmt: skip

by_name = pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
on_gpu = pytest.mark.gpu
simulated = pytest.mark.skipif(not SIMULATED, reason="looks into the simulator")


@pytest.fixture(autouse=True)
def few_threads(request, monkeypatch):
    """Leave out what needs a GPU where there is none; in the simulator few threads, as each takes its time."""
    if request.node.get_closest_marker("gpu") and (why := gpu.lacking()):
        pytest.skip(f"{why}; the simulator's turn is test_in_the_simulator")
    if SIMULATED:
        from numba.cuda.simulator.kernel import BlockThread

        from noetherlite._kernels.cuda import products, whole_device

        # The simulator asks without a pause which threads are still running, and these wait for it to let go of the interpreter.
        monkeypatch.setattr(BlockThread, "is_alive", lambda thread: time.sleep(0) or threading.Thread.is_alive(thread))
        monkeypatch.setattr(device_layout, "_threads", lambda *sizes: 3)
        monkeypatch.setattr(whole_device, "MOST_BLOCKS", 2)
        monkeypatch.setattr(whole_device, "MOST_THREADS", 3)
        # Squares of products that these matrices fill: most of the 256 threads of the real ones would have nothing to do.
        for name, size in {"TILE": 8, "SIDE": 2, "DEPTH": 4, "PADDED": 9}.items():
            monkeypatch.setattr(products, name, size)


@pytest.mark.slow
@pytest.mark.needs_jit
@pytest.mark.skipif(SIMULATED, reason="is itself run by it")
def test_in_the_simulator():
    pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def tolerance(reference, n, eps, size):
    """A sum of n numbers, an operation after it, in each of the steps."""
    return 64 * n * STEPS * eps * max(1.0, size, float(np.abs(np.nan_to_num(reference)).max(initial=0)))


def assert_equal_runs(run, other, n=0, eps=EPS, size=0.0):
    """Equal up to the round-off of sums over n numbers, whose terms are `size` at most or as large as the sums; bit for bit for n = 0."""
    assert (run.status, run.n_gradients, list(run.laws)) == (other.status, other.n_gradients, list(other.laws))
    np.testing.assert_array_equal(run.step, other.step)
    pairs = [(name, getattr(run, name), getattr(other, name)) for name in ("loss", "energy", "x", "v", "params")]
    pairs += [(f"{k} {f}", getattr(run.laws[k], f), getattr(other.laws[k], f)) for k in run.laws for f in FIELDS]
    for name, mine, theirs in pairs:
        if mine is not None:
            atol = tolerance(theirs, n, eps, size)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=atol, err_msg=name)


def both(U, algorithm, x, steps=STEPS, peer="cpu", **options):
    options = {"record_every": 2, "record_params": True, **start(algorithm), **options}
    return tuple(nl.integrate(U, algorithm, x, steps, backend=b, **options) for b in ("cuda", peer))


@on_gpu
@by_name
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_algorithm_activation_and_law_is_the_cpus(activation, algorithm):
    batch_size = (None, 2)[(ACTIVATIONS.index(activation) + ALGORITHMS.index(algorithm)) % 2]
    loss = "mse" if activation in ("relu", "swish", "polynomial(2)") else "nll"
    _, U, x = problem(activation, loss, widths=(2, 3, 2, 2), n=5)
    size = float(np.abs(x).max() * np.abs(U.gradient(x)).max())  # of a term of a charge: powers have steep gradients
    assert_equal_runs(*both(U, algorithm, x, batch_size=batch_size, rng=3, input_reduction=False), n=5, size=size)


@on_gpu
@pytest.mark.parametrize("half", [0, 1])
def test_the_other_activations_are_the_cpus(half):
    """A layer each, in two networks whose kernels choose among them."""
    others = [text for text in EXAMPLES if text not in ACTIVATIONS][half::2]
    _, U, x = problem(others, "nll", widths=(2, *[2] * len(others), 2), n=3)
    assert_equal_runs(*both(U, nl.GD(1e-3), 0.5 * x), n=5)


@on_gpu
@pytest.mark.parametrize(
    ("loss", "batch_size"),
    [("huber(1.0)", None), ("logistic", None), ("nll(0.1)", None), ("huber(1.0)", 2), ("nll", 2)],
)
def test_the_other_losses_and_weights_of_samples_are_the_cpus(loss, batch_size):
    """A loss of each loop: targets, signs, probabilities; those of minibatches with weights."""
    net, rng = nl.Network([2, 3, 2], loss=loss), np.random.default_rng(0)
    y = {"huber(1.0)": 2 * rng.standard_normal((5, 2)), "logistic": rng.choice([-1, 1], (5, 2))}
    weights = {"sample_weight": rng.uniform(0, 2, 5)} if batch_size else {}
    U = net.potential(rng.standard_normal((5, 2)), y.get(loss, rng.integers(0, 2, 5)), **weights)
    assert_equal_runs(*both(U, nl.GD(1e-2), net.init(rng=0), batch_size=batch_size, rng=0), n=5)


@on_gpu
@by_name
@pytest.mark.parametrize("bias", [True, False])
def test_in_single_precision(bias, algorithm):
    _, U, x = problem("swish", "nll", widths=(2, 3, 2), n=5, bias=bias)
    assert_equal_runs(*both(U, algorithm, x, dtype="float32", peer="reference"), n=5, eps=np.finfo(np.float32).eps)


@on_gpu
@pytest.mark.parametrize("algorithm", INTEGRATORS, ids=str)
def test_integrators_are_the_cpus(algorithm):
    _, U, x = problem(["swish", "linear(0.7)"], "nll", widths=(2, 3, 2, 2), n=3)
    cuda, peer = both(U, algorithm, x, steps=2, peer="reference", input_reduction=False)
    assert_equal_runs(cuda, peer, n=5)
    assert verdicts(cuda) <= {"holds", "not decidable"}
    if algorithm.is_implicit:
        assert abs(cuda.solver_residual - peer.solver_residual) <= 64 * EPS
        assert peer.solver_residual > 1e3 * EPS


@on_gpu
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("algorithm", OPTIMISERS, ids=lambda a: type(a).__name__)
def test_optimisers_are_the_cpus(algorithm, spread, monkeypatch):
    monkeypatch.setattr(device, "SPREAD_FROM", 0 if spread else 1e12)
    _, U, x = problem("swish", "nll", widths=(2, 3, 3), n=5)
    assert_equal_runs(*both(U, algorithm, x, peer="reference", batch_size=2, rng=3), n=5)


@on_gpu
@pytest.mark.parametrize("algorithm", SETTINGS, ids=lambda a: f"{type(a).__name__}-{SETTINGS.index(a)}")
def test_settings_of_a_step_are_the_cpus(algorithm, monkeypatch):
    """Rates and decays by block, gradients uphill, accumulated ones, schedules of second-order methods, matrices, noise, iterations; three of them spread."""
    number = SETTINGS.index(algorithm)
    monkeypatch.setattr(device, "SPREAD_FROM", 0 if number in (4, 10, 11) else 1e12)
    _, U, x = problem("swish", "nll", widths=(2, 3, 3), n=5)
    assert_equal_runs(*both(U, algorithm, x, peer="reference", batch_size=None if number in (0, 7) else 2, rng=3), n=5)


@on_gpu
@pytest.mark.parametrize("make", [nl.GD, nl.Leapfrog, nl.Adam])
def test_frozen_blocks_are_the_cpus(make):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2, 2), n=5)
    run, other = both(U, make({"W1": 0, "b1": 0, "rest": 1e-3}), x, peer="reference")
    np.testing.assert_array_equal(run.x[:9], x[:9])
    assert_equal_runs(run, other, n=5)


@on_gpu
@by_name
@pytest.mark.parametrize("U", [nl.potentials.Radial(3), nl.potentials.Harmonic(np.diag([1.0, 4.0, 2.0]))], ids=str)
def test_bit_for_bit_where_no_sum_is_reordered(U, algorithm):
    """On a GPU a product and a sum are one operation, which rounds once."""
    run, other = both(U, algorithm, [1.4, 0.1, -0.2], laws=None)
    assert_equal_runs(run, other, n=0 if SIMULATED else 3)


@on_gpu
@by_name
def test_rotations_and_laws_of_ones_own(algorithm):
    net = nl.Network([3, 2, 1], "polynomial(2)", loss="mse", bias=False)
    U = net.potential(nl.datasets.icosahedron())
    x = net.init(rng=0)
    turn = np.zeros((net.n_params, net.n_params))
    for row in range(2):
        turn[3 * row, 3 * row + 1], turn[3 * row + 1, 3 * row] = 1.0, -1.0
    laws = ["rotation", "scaling:1", nl.Symmetry(turn, name="turn")]
    moving = {"velocity": np.ones(U.n_params), "t0": 1.0} if algorithm.has_velocity else {}
    run, other = both(U, algorithm, x, laws=laws, **moving)
    assert_equal_runs(run, other, n=12)
    if moving:
        assert np.abs(run.laws["turn"].charge).max() > 1e-3  # no law of nothing


@on_gpu
def test_a_wrong_law_is_seen():
    """Negative control: tanh has no scaling symmetry, and both say by how much."""
    _, U, x = problem("tanh", "mse", widths=(2, 3, 2), n=5)
    G = np.diag(np.r_[np.ones(9), -np.ones(U.n_params - 9)])
    with pytest.raises(ValueError, match="symmetry"):
        nl.integrate(U, nl.GD(0.1), x, STEPS, backend="cuda", laws=[nl.Symmetry(G, name="no")])


# --- where things lie ---


@simulated
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_the_same_wherever_it_lies_and_however_many_threads(activation, monkeypatch):
    _, U, x = problem(activation, "nll", widths=(2, 5, 3), n=7)
    plans, runs, needed, place = [], [], _shared(U, None), device_layout.place
    for shared, threads in ((needed, 1), (needed, 3), (needed, 32), (needed - 8, 3), (100, 3)):
        monkeypatch.setattr(device_layout, "SHARED", shared)
        monkeypatch.setattr(device_layout, "_threads", lambda *sizes, n=threads: n)
        monkeypatch.setattr(device.device_layout, "place", lambda *a: plans.append(place(*a)) or plans[-1])
        runs.append(nl.integrate(U, nl.NAGD(1e-2), x, STEPS, backend="cuda"))
    assert [plan.where for plan in plans] == [0, 0, 0, 1, 2]
    for run in runs[1:]:
        assert_equal_runs(run, runs[0])


@simulated
def test_tiles_of_samples_add_up(monkeypatch):
    monkeypatch.setattr(device_layout, "SMALLEST_TILE", 2)
    _, U, x = problem("swish", "nll", widths=(2, 3, 2), n=11)
    for batch_size in (None, 5):
        options = {"backend": "cuda", "batch_size": batch_size, "rng": 0}
        monkeypatch.setattr(device_layout, "SHARED", 48 * 1024)
        whole = nl.integrate(U, nl.Leapfrog(1e-2), x, STEPS, **options)
        size = _shared(U, batch_size)
        monkeypatch.setattr(device_layout, "SHARED", size - 200)
        assert _shared(U, batch_size) < size - 200
        assert_equal_runs(nl.integrate(U, nl.Leapfrog(1e-2), x, STEPS, **options), whole, n=11)


def _shared(U, batch_size):
    """The bytes of shared memory of a block in which everything fits."""
    from noetherlite._run import plan as _run
    from noetherlite._symmetry.find import watched

    families = watched(U, "all", minibatches=batch_size is not None)
    options = {"backend": "cuda", "dtype": "float64", "steps": 1, "reduce": False}
    plan = _run.Plan(U, families, batch_size=batch_size, **options)
    placing = device_layout.place(plan.problem, plan.laws, plan.n_params, plan.drawn, False, device_layout.SHARED)
    assert placing.where == device_layout.IN_SHARED
    return placing.shared


class StandIn:
    """cuBLAS's products, by NumPy, on the simulator's arrays."""

    def use(self, stream):
        pass

    def product(self, A, B, C, n, m, depth):
        def matrix(operand, rows, columns):
            if operand.transposed:
                return matrix(operand._replace(transposed=False), columns, rows).T
            flat = operand.array._ary[operand.begin : operand.begin + operand.ld * columns]
            return flat.reshape(columns, operand.ld).T[:rows]

        matrix(C, n, m)[...] = matrix(A, n, depth) @ matrix(B, depth, m)


@on_gpu
@pytest.mark.parametrize(
    ("activation", "algorithm", "batch_size", "use_cublas"),
    [("swish", ALGORITHMS[3], 4, False)]
    + [(a, ALGORITHMS[k], n, True) for a, k in (("swish", 3), ("linear(0.7)", 0)) for n in (None, 4)],
)
def test_a_network_that_has_the_whole_device(activation, algorithm, batch_size, use_cublas, monkeypatch):
    from noetherlite._kernels.cuda import cublas

    monkeypatch.setattr(device, "SPREAD_FROM", 0)
    if SIMULATED:
        monkeypatch.setattr(cublas, "library", lambda: StandIn() if use_cublas else None)
    elif not use_cublas:
        monkeypatch.setattr(cublas, "library", lambda: None)
    elif cublas.library() is None:
        pytest.skip("cuBLAS is not installed")
    _, U, x = problem(activation, "nll", widths=(2, 5, 3), n=9)
    assert_equal_runs(*both(U, algorithm, x, steps=2, batch_size=batch_size, rng=1), n=9)


@simulated
@pytest.mark.parametrize("transposed", [False, True])
def test_the_tiled_product_at_odd_sizes(transposed, monkeypatch):
    from numba import cuda

    from noetherlite._kernels.cuda.products import Matrix, by_tiles

    monkeypatch.undo()  # squares and threads as they are on a GPU
    n, depth, m = 65, 17, 3
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((n, depth)), rng.standard_normal((depth, m))
    left, right = (np.ascontiguousarray(a.T if transposed else a) for a in (A, B))
    out = cuda.to_device(np.full(n * m + 2, 7.0))
    arrays = (cuda.to_device(np.r_[0.0, a.ravel()]) for a in (left, right))
    by_tiles(
        *(Matrix(a, 1, *shape, transposed) for a, shape in zip(arrays, (A.shape, B.shape), strict=True)),
        Matrix(out, 1, n, m),
    )
    before, *product, after = out.copy_to_host()
    atol = 8 * depth * EPS * np.abs(A).max() * np.abs(B).max()
    np.testing.assert_allclose(np.reshape(product, (n, m)), A @ B, rtol=0, atol=atol)
    assert before == after == 7.0  # nothing beside it


# --- ensembles, ends, checkpoints ---


@on_gpu
@pytest.mark.parametrize("batch_size", [None, 2])
def test_every_member_is_the_single_run(batch_size):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=5)
    starts, rates = np.stack([x, 1.1 * x, 0.9 * x]), [0.1, 0.2, 0.3]
    options = {"record_every": 2, "backend": "cuda", "batch_size": batch_size, "record_params": True}
    runs = nl.ensemble(U, [nl.GD(lr) for lr in rates], starts, STEPS, rng=4, **options)
    for e, seed in enumerate(np.random.SeedSequence(4).spawn(3)):
        assert_equal_runs(runs[e], nl.integrate(U, nl.GD(rates[e]), starts[e], STEPS, rng=seed, **options))


@on_gpu
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator's numbers are NumPy's, which warn
def test_a_member_that_diverges_leaves_the_others_alone():
    _, U, x = problem("polynomial(3)", "mse", widths=(2, 3, 1), n=5)
    algorithms = [nl.GD(lr) for lr in (1e-3, 1e60)]
    runs, other = (nl.ensemble(U, algorithms, [x, x], 8, backend=b) for b in ("cuda", "cpu"))
    assert [m.status for m in runs.members] == ["completed", "diverged"]
    assert [m.message for m in runs.members] == [m.message for m in other.members]
    assert np.isfinite(runs.loss[0]).all()
    np.testing.assert_array_equal(np.isfinite(runs.loss), np.isfinite(other.loss))


@on_gpu
@pytest.mark.parametrize("single", [True, False])
def test_stopped_and_resumed_it_is_the_same_run(single, tmp_path, monkeypatch):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=5)
    options = {"backend": "cuda", "batch_size": 2, "rng": 1}
    path = tmp_path / "run.npz"

    def run(**more):
        if single:
            return nl.integrate(U, nl.NAGD(1e-2), x, 6, **options, **more)
        return nl.ensemble(U, nl.NAGD(1e-2), [x, 2 * x], 6, **options, **more)

    whole = run()
    written = []

    def give_up(pause):
        written.append(pause)
        if len(written) == 3:
            raise KeyboardInterrupt

    from noetherlite._run.checkpoint import CheckpointWriter

    save = CheckpointWriter.save
    monkeypatch.setattr(CheckpointWriter, "save", lambda self: (save(self), give_up(self)))
    assert run(checkpoint=path, checkpoint_every=2).status == "stopped"
    monkeypatch.setattr(CheckpointWriter, "save", save)
    resumed = nl.resume(path)
    if single:
        assert_equal_runs(resumed, whole)
    else:
        for e in range(2):
            assert_equal_runs(resumed[e], whole[e])


@on_gpu
def test_callbacks_and_progress_see_the_present(capsys):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=5)
    seen = []
    run = nl.integrate(
        U, nl.Leapfrog(1e-2), x, 4, backend="cuda", record_params=True, progress=True,
        callback=lambda s: seen.append((s.step, s.x)) or s.step == 3,
    )  # fmt: skip
    assert run.status == "stopped"
    assert [step for step, _ in seen] == [0, 1, 2, 3]
    np.testing.assert_array_equal([x for _, x in seen], run.params)


@on_gpu
@pytest.mark.parametrize("single", [True, False])
def test_ctrl_c_stops_at_the_next_record_and_keeps_all(single, monkeypatch):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=5)
    advance, calls = device.Fleet.advance, []

    def pressed(self, n_steps):
        advance(self, n_steps)
        calls.append(n_steps)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(drive, "_CALL_SECONDS", 0.0)  # calls of one step, until Ctrl-C
    monkeypatch.setattr(device.Fleet, "advance", pressed)
    options = {"record_every": 3, "backend": "cuda", "record_params": True}
    if single:
        run = nl.integrate(U, nl.Leapfrog(1e-2), x, 12, **options)
    else:
        run = nl.ensemble(U, nl.Leapfrog(1e-2), [x, 2 * x], 12, **options)[0]
    assert run.status == "stopped"
    assert "Ctrl-C after 3 of 12 steps" in run.message
    monkeypatch.setattr(device.Fleet, "advance", advance)
    np.testing.assert_array_equal(run.params, nl.integrate(U, nl.Leapfrog(1e-2), x, 3, **options).params)


@on_gpu
def test_too_little_memory_is_said_before_anything_is_launched(monkeypatch):
    _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=5)
    monkeypatch.setattr(device, "free_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match=r"the run would hold .* GB and the GPU has free 0.001 GB"):
        nl.ensemble(U, nl.GD(0.1), np.tile(x, (1000, 1)), 1000, backend="cuda")


@simulated
def test_memory_is_what_is_allocated(monkeypatch):
    from numba import cuda

    taken, up, empty = [], cuda.to_device, cuda.device_array
    monkeypatch.setattr(cuda, "to_device", lambda a: taken.append(a.nbytes) or up(a))
    # Zeros, as nothing is multiplied here and what memory happens to hold need not be numbers.
    monkeypatch.setattr(cuda, "device_array", lambda *a: taken.append(empty(*a).nbytes) or up(np.zeros(*a)))
    monkeypatch.setattr("noetherlite._kernels.cuda.products.by_tiles", lambda *matrices: None)
    said, memory = [], device.Fleet.memory
    monkeypatch.setattr(device.Fleet, "memory", lambda self: said.append(memory(self)) or said[-1])
    for spread in (0, 1e7):
        monkeypatch.setattr(device, "SPREAD_FROM", spread)
        taken.clear()
        _, U, x = problem("relu", "nll", widths=(2, 3, 2), n=9)
        nl.ensemble(U, nl.GD(0.1), np.tile(x, (3, 1)), 0, backend="cuda", batch_size=4, rng=0)
        # Tables and the program, a few kilobytes, are not counted.
        assert said[-1] <= sum(taken) <= said[-1] + 4096


# --- on a GPU only ---


@on_gpu
@pytest.mark.skipif(SIMULATED, reason="10,000 steps are too many for the simulator")
@by_name
def test_laws_hold_to_round_off_over_ten_thousand_steps(algorithm):
    _, U, x = problem("relu", "nll", widths=(4, 8, 8, 3), n=32)
    steps = 10_000
    run = nl.integrate(U, algorithm, 0.3 * x, steps, backend="cuda", record_every=1000, **start(algorithm))
    for key, law in run.laws.items():
        assert (np.abs(law.discrete_residual) <= 1e-11 * law.scale).all(), key


@on_gpu
@pytest.mark.skipif(SIMULATED, reason="there is one simulator")
def test_the_second_device():
    from numba import cuda

    if len(cuda.gpus) < 2:
        pytest.skip("there is one GPU")
    _, U, x = problem("relu", "nll")
    first = nl.integrate(U, nl.GD(0.1), x, 100, backend="cuda")
    with cuda.gpus[1]:
        assert_equal_runs(nl.integrate(U, nl.GD(0.1), x, 100, backend="cuda"), first)
