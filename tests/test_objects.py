"""Results and descriptions are ordinary Python objects: copied, pickled, sent to processes, written as JSON, listed by dir."""

import copy
import json
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import scipy.sparse

import noetherlite as nl


def member(lr, rng=None):
    return {"loss": lr}


def objects():
    net = nl.Network([2, 3, 2])
    U = net.potential(nl.datasets.gaussian_classes(n=8, n_features=2, n_classes=2, rng=0))
    x0 = net.init(rng=0)
    run = nl.integrate(U, nl.GD(0.1), x0, 4, record_params=True)
    many = nl.ensemble(U, nl.GD(0.1), [x0, x0], 2)
    drift = nl.drift(U, nl.GD(0.1), x0, 4)
    report = nl.check(U, run.params, run.t, nl.GD(0.1))
    runs = nl.sweep(member, {"lr": [0.1, 0.2]})
    radial = nl.potentials.Radial(2)
    results = [
        run,
        many,
        run.laws["scaling:1"],
        many.members[0],
        drift,
        drift["scaling:1"],
        report,
        *report.rows[:1],
        runs,
    ]
    results += [runs.members[0], net, U, radial, nl.potentials.Harmonic(np.eye(2)), nl.potentials.Callable(member, 2)]
    results += [
        nl.GD(0.1),
        nl.HeavyBall(0.1, 0.9),
        nl.Leapfrog(0.1),
        nl.NAGD(0.1),
        nl.ConformalLeapfrog(0.1),
        nl.GF,
        nl.NAGF,
    ]
    results += [*nl.symmetries(U), nl.Symmetry([[0.0, -1.0], [1.0, 0.0]], name="turn")]
    results += [nl.law(s, nl.NAGF) for s in nl.symmetries(U)[:2]]
    scan = nl.scan(lambda params: net.unpack(U.gradient(net.pack(params))), net.unpack(net.init(rng=0, bias_std=1.0)))
    results += [scan, *scan.laws()[:1], nl.watch(scan.laws()), nl.tensors.audit(net.unpack(x0), scan.laws())]
    results += [nl.count_laws(net, flow="gradient"), nl.discover(radial, rng=0), nl.datasets.polygon(4)]
    return [*results, nl.reference_flow(radial, nl.GF, [1.0, 0.5], [0.0, 1.0])]


@pytest.fixture(scope="module")
def every():
    return objects()


def attributes(one):
    """The attributes of an object; a trajectory reads its laws when it is asked for them."""
    return one.__getstate__() if isinstance(one, nl.Trajectory) else vars(one)


def same(one, other):
    """Whether all attributes are equal, arrays bit for bit."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if scipy.sparse.issparse(one):
        return one.shape == other.shape and (one != other).nnz == 0
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dict__") and type(one).__module__.startswith("noetherlite"):
        return type(one) is type(other) and same(attributes(one), attributes(other))
    return one == other or one is other or one != one


@pytest.mark.parametrize(
    "again", [lambda o: pickle.loads(pickle.dumps(o)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
def test_copies(every, again):
    for one in every:
        assert same(one, again(one)), one
    assert not same(every[0], every[1])  # the control


def test_through_a_pool_of_processes(every):
    """There and back, also what a function in the other process makes."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        back = pool.submit(copy.copy, every)
        made = pool.submit(nl.integrate, nl.potentials.Radial(2), nl.GD(0.1), [1.0, 0.5], 3, backend="reference")
        assert same(every, back.result())
        here = nl.integrate(nl.potentials.Radial(2), nl.GD(0.1), [1.0, 0.5], 3, backend="reference")
        assert same(here, made.result())


def test_all_are_true_and_have_a_text(every):
    for one in every:
        assert bool(one) is True, one
        assert repr(one)


def test_specifications_are_json(every):
    for one in every:
        specification = getattr(one, "specification", None)
        if specification is not None:
            specification = specification() if callable(specification) else specification
            assert json.loads(json.dumps(specification)).keys() == specification.keys()


def test_mappings_of_results_do_not_change(every):
    for change in (lambda d: d.update(a=1), lambda d: d.pop("scaling:1"), lambda d: d.clear(), lambda d: d.__ior__({})):
        with pytest.raises(TypeError, match="does not support item assignment"):
            change(every[0].laws)
    assert dict(every[0].laws) is not every[0].laws


def test_dir_lists_what_there_is():
    listed = [name for name in dir(nl) if not name.startswith("__")]
    assert sorted(listed) == sorted(nl.__all__)
    assert all(hasattr(nl, name) for name in listed)


def test_in_a_notebook(every):
    law = next(o for o in every if type(o).__name__ == "Law")
    assert law._repr_latex_() == f"$\\displaystyle {law.formula('latex')}$"
    page = nl.report(every[0])
    assert isinstance(page, str)
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert page._repr_html_().startswith("<iframe")
    assert len(repr(page)) < 100


def test_tables(every):
    pandas = pytest.importorskip("pandas")
    run, many = every[:2]
    table = run.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    np.testing.assert_array_equal(table["loss"], run.loss)
    np.testing.assert_array_equal(table["scaling:1.residual[2]"], run.laws["scaling:1"].residual[:, 2])
    assert many.to_pandas().index.names == ["member", "record"]


def test_arrays_with_names(every):
    pytest.importorskip("xarray")
    run, many = every[:2]
    dataset = run.to_xarray()
    assert dataset["loss"].dims == ("record",)
    np.testing.assert_array_equal(dataset["scaling:1.residual"], run.laws["scaling:1"].residual)
    assert many.to_xarray()["loss"].dims == ("member", "record")


def test_packages_that_are_not_there(every, monkeypatch):
    for name in ("pandas", "xarray"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=rf"to_{name} needs the package {name}: pip install {name}"):
            getattr(every[0], f"to_{name}")()
