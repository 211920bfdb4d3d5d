"""Records of a run beside loss and laws: sharpness, functions of the parameters; files, checkpoints, runs that go on."""

import numpy as np
import pytest
from problems import assert_same, problem, refusals

import noetherlite as nl

NET, U, X0 = problem("tanh", "nll", widths=(3, 4, 3), n=12)


def first_layer(x):
    return np.linalg.svd(NET.unpack(x)["W1"], compute_uv=False)


def accuracy(x):
    return (NET.predict(x, U.X).argmax(axis=1) == U.y).mean()


OBSERVE = {"singular values": first_layer, "accuracy": accuracy}
OPTIONS = {"record_every": 4, "observe": OBSERVE, "record_sharpness": 2}


def run(steps=10, algorithm=None, **options):
    return nl.integrate(U, algorithm or nl.GD(0.1), X0, steps, **{**OPTIONS, **options})


@pytest.mark.parametrize("options", [{}, {"batch_size": 5, "rng": 1}, {"backend": "reference"}, {"dtype": "float32"}])
def test_values_are_those_at_the_recorded_parameters(options):
    trajectory = run(record_params=True, **options)
    assert trajectory.step.tolist() == [0, 4, 8, 10]
    assert trajectory.observed["singular values"].shape == (4, 3)
    np.testing.assert_array_equal(trajectory.observed["singular values"], [first_layer(x) for x in trajectory.params])
    np.testing.assert_array_equal(trajectory.observed["accuracy"], [accuracy(x) for x in trajectory.params])
    expected = [nl.sharpness(U, x.astype(float), 2) for x in trajectory.params]
    np.testing.assert_array_equal(trajectory.observed["sharpness"], expected)
    assert np.ptp(trajectory.observed["sharpness"][:, 0]) > 1e-3


def test_looking_changes_nothing():
    plain = nl.integrate(U, nl.GD(0.1), X0, 10, record_every=4)
    spoiled = {"spoiled": lambda x: x.__imul__(0).sum()}
    for other in (run(), nl.integrate(U, nl.GD(0.1), X0, 10, record_every=4, observe=spoiled)):
        np.testing.assert_array_equal(other.x, plain.x)
        np.testing.assert_array_equal(other.loss, plain.loss)


def test_ensembles_have_each_run_alone():
    X = np.stack([X0, 0.5 * X0, 2 * X0])
    runs = nl.ensemble(U, nl.GD(0.1), X, 10, n_threads=2, **OPTIONS)
    assert runs.observed["sharpness"].shape == (3, 4, 2)
    for e, x in enumerate(X):
        alone = nl.integrate(U, nl.GD(0.1), x, 10, **OPTIONS)
        for name, values in alone.observed.items():
            np.testing.assert_array_equal(runs[e].observed[name], values)


def test_files_and_tables_have_them(tmp_path):
    trajectory = run()
    again = nl.load(trajectory.save(tmp_path / "run"))
    assert list(again.observed) == ["singular values", "accuracy", "sharpness"]
    for name, values in trajectory.observed.items():
        np.testing.assert_array_equal(again.observed[name], values)
    pandas = pytest.importorskip("pandas")
    frame = trajectory.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    np.testing.assert_array_equal(frame["sharpness[1]"], trajectory.observed["sharpness"][:, 1])


@pytest.mark.needs_jit
def test_input_reduction_has_theta():
    data = nl.datasets.gaussian_classes(n=8, n_features=20, n_classes=3, rng=0)
    net = nl.Network([20, 4, 3])
    V, x = net.potential(data), net.init(rng=0)
    look = {"W1": lambda x: net.unpack(x)["W1"]}
    runs = [nl.integrate(V, nl.GD(0.1), x, 6, observe=look, input_reduction=by) for by in (True, False)]
    assert "coordinates" in runs[0].message
    np.testing.assert_allclose(runs[0].observed["W1"], runs[1].observed["W1"], rtol=0, atol=1e-14)


def test_rows_after_a_divergence_are_empty():
    V = nl.potentials.Radial(2)
    look = {"record_sharpness": 1, "observe": {"size": np.linalg.norm}}
    trajectory = nl.ensemble(V, [nl.GD(0.1), nl.GD(1e9)], [[1.0, 0.5]] * 2, 12, **look)
    assert trajectory.members[1].status == "diverged"
    for values in trajectory.observed.values():
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1, -1]).all()


@pytest.mark.parametrize("algorithm", [nl.GD(0.1), nl.Leapfrog(0.01), nl.Adam(0.01)])
@pytest.mark.parametrize("stop", [3, 8])
def test_a_resumed_run_is_the_whole_one(tmp_path, algorithm, stop):
    path = tmp_path / "c.npz"
    whole = run(algorithm=algorithm, record_params=True)
    files = {"checkpoint": path, "checkpoint_every": 1}
    run(algorithm=algorithm, record_params=True, callback=lambda at: at.step >= stop, **files)
    with pytest.raises(ValueError, match=r"observe must hold the functions \['singular values', 'accuracy'\]"):
        nl.resume(path)
    assert_same(nl.resume(path, observe=OBSERVE), whole)


@pytest.mark.parametrize("steps", [8, 10])
def test_a_finished_run_goes_on(tmp_path, steps):
    path = tmp_path / "c.npz"
    options = {"algorithm": nl.HeavyBall(0.05, 0.9), "batch_size": 5, "rng": 3, "record_params": True}
    whole = run(19, **options)
    run(steps, **options, checkpoint=path)
    longer = nl.resume(path, steps=19, observe=OBSERVE)
    assert_same(longer, whole)
    assert_same(nl.resume(path, observe=OBSERVE), whole)  # its checkpoint is of the longer run
    with pytest.raises(ValueError, match="steps=18 is out of range"):
        nl.resume(path, steps=18, observe=OBSERVE)


def test_ensembles_go_on(tmp_path):
    X, path = np.stack([X0, 0.5 * X0]), tmp_path / "c.npz"
    whole = nl.ensemble(U, nl.GD(0.1), X, 9, record_every=2)
    nl.ensemble(U, nl.GD(0.1), X, 5, record_every=2, checkpoint=path)
    assert_same(nl.resume(path, steps=9), whole)


def test_a_schedule_ends_with_its_run(tmp_path):
    path = tmp_path / "c.npz"
    nl.integrate(U, nl.GD([0.1, 0.2]), X0, 2, checkpoint=path)
    with pytest.raises(ValueError, match="where its schedule of lr ends"):
        nl.resume(path, steps=3)


test_wrong_arguments_are_refused = refusals(
    [
        ({"record_sharpness": 0}, ValueError, "record_sharpness=0 is out of range"),
        ({"record_sharpness": 99}, ValueError, "record_sharpness=99 is out of range"),
        ({"observe": {"sharpness": accuracy}}, ValueError, "has a function of the name that record_sharpness takes"),
        ({"observe": [accuracy]}, TypeError, "observe must be a mapping"),
        ({"observe": {"a": 3}}, TypeError, r"observe\['a'\] must be callable"),
        ({"observe": {1: accuracy}}, TypeError, "a name in observe"),
        ({"observe": {"a": lambda x: "no"}}, TypeError, r"observe\['a'\] must return a real number"),
        ({"observe": {"a": lambda x: x * 1j}}, TypeError, r"observe\['a'\] must return a real number"),
        ({"observe": {"a": lambda x: x[: 1 + int(x[0] != X0[0])]}}, ValueError, "returned shape"),
    ],
    lambda options: run(**options),
)


def test_a_function_has_no_sharpness():
    plain = nl.potentials.Callable(lambda x: (0.5 * x @ x, x), 2)
    with pytest.raises(TypeError, match="given as a function"):
        nl.integrate(plain, nl.GD(0.1), [1.0, 2.0], 2, record_sharpness=1)
    trajectory = nl.integrate(plain, nl.GD(0.1), [1.0, 2.0], 2, observe={"size": np.linalg.norm})
    assert trajectory.observed["size"].tolist() == pytest.approx([5**0.5, 0.9 * 5**0.5, 0.81 * 5**0.5])


def test_the_plot_has_a_line_for_each_value():
    ax = run().plot_observed("singular values")
    assert len(ax.lines) == 3
