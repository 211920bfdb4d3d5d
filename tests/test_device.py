"""What of the GPU's side needs no GPU: the list of phases, where things lie, what is said where something is missing."""

import importlib.metadata
import subprocess
import sys
import warnings

import numba
import numpy as np
import pytest
from problems import problem

import noetherlite as nl
from noetherlite._base import gpu
from noetherlite._kernels import layout, schedule
from noetherlite._kernels.cuda import device_layout
from noetherlite._kernels.schedule import Row
from noetherlite._run import device
from noetherlite._run import plan as _run
from noetherlite._symmetry.find import watched

ALGORITHMS = [
    nl.GD(0.1), nl.GD(0.1, weight_decay=0.1), nl.HeavyBall(0.1), nl.HeavyBall(0.1, weight_decay=0.1), nl.Leapfrog(0.1), nl.NAGD(0.1),
    nl.NAGD(0.1, weight_decay=0.1, clip=0.1), nl.ConformalLeapfrog(0.1, gamma=1.0, weight_decay=0.1),
    nl.GD({"W1": 0.2, "rest": 0.1}, weight_decay={"W1": 0.1}), nl.NAGD({"W1": 0.2, "rest": 0.1}, weight_decay=0.1),
    nl.SAM(nl.GD(0.1, weight_decay=0.1)), nl.SAM(nl.Adam(0.1, clip=0.1)), nl.HeavyBall(0.1, grad_accumulation=3), nl.Muon(0.1),
]  # fmt: skip
VECTORS = "xvgyw"
SUMS = {"origin", "integral", "balance", "source", "charge"}
OPTIONS = {"backend": "cpu", "dtype": "float64", "steps": 5, "reduce": False}


def plan(activation="swish", laws="all", batch_size=None, widths=(3, 5, 4, 2), n=9):
    _, U, _ = problem(activation, "nll", widths=widths, n=n)
    families = watched(U, laws, minibatches=batch_size is not None)
    return _run.Plan(U, families, batch_size=batch_size, **OPTIONS)


def rows(algorithm, batch_size=None, laws="all", tiles=1):
    p = plan(batch_size=batch_size, laws=laws)
    kernel = algorithm.kernel(1.0, p.U.network.blocks)
    kind = schedule.kind_of(algorithm.method, kernel, p.laws, minibatches=batch_size is not None)
    program = schedule.program(kind._replace(in_stages=True), schedule.by_layers(p.problem, tiles, tiles))
    parts = np.split(program.rows, [program.step, program.record])
    return [[Row(*(int(field) for field in row)) for row in part] for part in parts]


def touched(algorithm, row):
    """What a phase reads and what it writes, other threads' numbers among them; an update has its own only."""
    at = VECTORS[row.vector]
    h, slots = row.a, {f"slot {i}" for i in range(schedule.SLOTS)}
    if row.op == schedule.UPDATE:
        return {"g", "x", "v", "y"}, set(algorithm.method.all_rules[row.a].writes)
    if row.op == schedule.FORM:
        return {at, VECTORS[row.b]}, {f"slot {row.c}"}
    if row.op == schedule.ORTHOGONALISE:
        source, target = ("y", "w") if row.b % 2 == 0 else ("w", "y")
        return {
            schedule.SIZES: ({"y"}, {"A"}),
            schedule.NORMALISED: ({"A"}, {"y"}),
            schedule.GRAM: ({source}, {"A"}),
            schedule.POLYNOMIAL: ({"A"}, {"B"}),
            schedule.PRODUCT: ({"B", source}, {target}),
            schedule.SCALED: ({source}, {"y"}),
        }[row.a]
    return {
        schedule.FORWARD: ({at, f"a{h - 1}", "order", "evaluations"}, {f"a{h}", f"z{h}"} if h < 2 else {"δ2"}),
        schedule.LOSS: ({"order", "evaluations"}, {"δ2", "values"}),
        schedule.TOTAL: ({"values", "evaluations"}, {"losses"}),
        schedule.BACKWARD: (
            {at, f"δ{h}", f"a{h - 1}", f"z{h}", "order", "evaluations"},
            {f"δ{h - 1}", f"z{h - 1}", "g"},
        ),
        schedule.SHUFFLE: ({"evaluations"}, {"order", "evaluations"}),
        schedule.GRADIENT_NORM: ({"g"}, {"norms"}),
        schedule.CLIP: ({"norms"}, {"g"}),
        schedule.ASCEND: ({"x", "g", "norms"}, {"y"}),
        schedule.RETURN: ({"x"}, {"y"}),
        schedule.GATHER: ({"w"}, {"w", "g", "evaluations"}),
        schedule.SCALE: (set(), {"g"}),
        schedule.WEIGH: ({at}, {"w"}),
        schedule.UNDECAYED: ({"x", "g"}, {"w"}),
        schedule.FINISH: ({at, "losses"}, {"g", "evaluations"}),
        schedule.SETTLE: (slots, SUMS),
        schedule.NORMS: ({"x", "v"}, {"norms"}),
        schedule.WRITE: ({"x", "norms", "losses", *slots, *SUMS}, {"records"}),
        schedule.CHECK: ({"losses"}, {"evaluations"}),
        schedule.COUNT: ({"losses"}, {"steps"}),
    }[row.op]


def races(algorithm, part):
    """Pairs of phases with no meeting between them, one of which writes what the other reads or writes."""
    pairs, together = [], []
    for row in part:
        reads, writes = touched(algorithm, row)
        for other, (theirs, written) in together:
            if writes & (theirs | written) or written & reads:
                pairs.append((other, row))
        together.append((row, (reads, writes)))
        if row.meet:
            together = []
    return pairs


def without_race(algorithm, step, phases):
    """Those of the phases after which no meeting is needed."""
    return [i for i in phases if not races(algorithm, [*step[:i], step[i]._replace(meet=0), *step[i + 1 :]])]


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("laws", ["all", None])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_no_phase_touches_what_another_one_writes_before_threads_meet(algorithm, batch_size, laws, tiles):
    for part in rows(algorithm, batch_size, laws, tiles):
        assert part[-1].meet  # what comes next is another part
        assert not races(algorithm, part)


def test_a_missing_meeting_is_found():
    """Negative control: any of a step's meetings is needed, but after the last sums, after a form of y, which stays, and where a run may end."""
    algorithm = nl.NAGD(0.1, weight_decay=0.1)
    step = rows(algorithm)[1]
    meetings = [i for i, row in enumerate(step[:-1]) if row.meet]
    assert [step[i].op for i in without_race(algorithm, step, meetings)] == [
        schedule.FINISH,
        schedule.FORM,
        schedule.SETTLE,
    ]


def test_every_meeting_of_an_orthogonalisation_is_needed():
    """But the last before what each thread does with its own numbers."""
    step = rows(nl.Muon(0.1), laws=None)[1]
    stages = [i for i, row in enumerate(step) if row.op == schedule.ORTHOGONALISE]
    assert len(stages) == 3 + 3 * 5
    assert without_race(nl.Muon(0.1), step, stages) == []


def test_gradient_descent_reads_as_it_is_written():
    step = rows(nl.GD(0.1), laws=None)[1]
    expected = [schedule.UPDATE, *[schedule.FORWARD] * 3, schedule.LOSS, schedule.TOTAL, *[schedule.BACKWARD] * 3]
    assert [row.op for row in step] == [*expected, schedule.FINISH, schedule.COUNT]


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_what_a_pass_keeps_does_not_overlap(activation):
    p = plan(activation)
    tables = device_layout.tables(p.problem, p.laws, p.n_params, 10, padded=True)
    assert tables.ld % 2 == 1
    widths = p.problem.widths[1:]
    taken = np.zeros(tables.memory, int)
    for h, (a, z, delta) in enumerate(tables.places):
        assert (z >= 0) == (activation == "swish" and h < 2)
        for place in (a, z) if h < 2 else ():
            if place >= 0:
                taken[place : place + widths[h] * tables.ld] += 1
        if h > 0:
            before = tables.places[h - 1, 2]
            assert delta + widths[h] * tables.ld <= before or before + widths[h - 1] * tables.ld <= delta
    assert taken.max() == 1
    assert not taken[tables.places[:, 2].min() :].any()


def test_more_shared_memory_makes_larger_tiles():
    p = plan("relu", widths=(10, 16, 16, 3), n=64)
    for most, slots in ((48 << 10, 32), (112 << 10, 64)):
        assert device_layout.place(p.problem, p.laws, p.n_params, 64, False, most).tables.slots == slots


def test_numbas_advice_is_silenced():
    """On a GPU it begins with the escape codes of a terminal, as it was found; the simulator gives none."""
    pytest.importorskip("numba_cuda", reason="needs the extra 'cuda'")
    from noetherlite._kernels.cuda.jit import without_advice

    for advice in ("Grid size 1 will likely", "\x1b[1mGrid size 1 will likely"):
        with without_advice():
            warnings.warn(advice, stacklevel=1)
    with pytest.raises(UserWarning, match="other"), without_advice():
        warnings.warn("other", stacklevel=1)


def test_the_largest_tiles_that_fit():
    small = (10, 16, 16, 3)
    for n, widths, where in ((64, small, 0), (512, small, 0), (16, (20, 20, 20, 10), 1), (512, (784, 128, 10), 2)):
        p = plan("relu", widths=widths, n=n)
        placing = device_layout.place(p.problem, p.laws, p.n_params, n, False, device_layout.SHARED)
        assert placing.where == where, widths
        assert placing.shared <= device_layout.SHARED
        assert device_layout.n_tiles(n, placing.tables.slots) * placing.tables.slots >= n
        assert placing.threads in (32, 64, 128)
        if where == 0 and placing.tables.slots < n:
            tiles = device_layout.n_tiles(n, placing.tables.slots)
            more = -(-n // (tiles - 1))
            larger = device_layout.tables(p.problem, p.laws, p.n_params, more + more % 2, padded=True)
            bytes_needed = 8 * (larger.doubles + 4 * p.n_params + larger.memory)
            assert bytes_needed > device_layout.SHARED


# --- what is missing ---

real = pytest.mark.skipif(bool(numba.config.ENABLE_CUDASIM), reason="in the simulator nothing is missing")


@real
def test_without_the_extra_it_says_what_to_install(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(gpu.importlib.metadata, "version", version)
    _, U, x = problem("relu")
    words = r"backend='cuda' cannot be used: .*numba-cuda.*pip install \"noetherlite\[cuda\]\""
    with pytest.raises(nl.DeviceError, match=words):
        nl.integrate(U, nl.GD(0.1), x, 1, backend="cuda")
    assert "numba-cuda" in gpu.describe()


@real
def test_where_cuda_does_not_start_the_reason_is_kept(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(gpu.importlib.metadata, "version", lambda name: "0.30")
    from numba import cuda

    def fail():
        raise OSError("libcuda.so.1: not there")

    monkeypatch.setattr(cuda, "is_available", fail)
    assert "libcuda.so.1: not there" in gpu.lacking()
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert "no NVIDIA GPU" in gpu.lacking()


def test_python_functions_and_drift_are_refused():
    _, U, x = problem("relu")
    F = nl.potentials.Callable(U.value_and_gradient, U.n_params)
    with pytest.raises(ValueError, match="backend='cuda' cannot compile"):
        nl.integrate(F, nl.GD(0.1), x, 1, backend="cuda")
    with pytest.raises(ValueError, match="backend='cuda' is not known"):
        nl.drift(U, nl.GD(0.1), x, 1, backend="cuda")


def test_nothing_of_cuda_is_imported_before_it_is_asked_for():
    code = (
        "import sys, noetherlite as nl\n"
        "nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.4, 0.1], 3, backend='auto')\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('cupy', 'cuda') or m.startswith('numba.cuda')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_large_networks_are_given_the_whole_device():
    small, large = plan(widths=(10, 16, 16, 3), n=64), plan(widths=(784, 128, 10), n=200)
    assert not device._uses_whole_device(small, 1)
    assert device._uses_whole_device(large, 1)
    assert not device._uses_whole_device(large, 400)  # as many blocks side by side are faster
    radial = _run.Plan(nl.potentials.Radial(2), [], batch_size=None, **OPTIONS)
    assert not device._uses_whole_device(radial, 1)
    assert radial.problem.kind == layout.RADIAL
