"""A right call of everything public: the function, and its arguments by name. Other tests replace arguments, or the setting."""

# ruff: noqa: C408 - dict(lr=0.1) reads as the call it stands for

import atexit
import functools
import gzip
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import noetherlite as nl
from noetherlite import (
    arch,
    bounds,
    convert,
    datasets,
    exact,
    figures,
    lagrangian,
    ntk,
    plot,
    potentials,
    tensors,
    testing,
)

NET, MSE = nl.Network([2, 3, 2], "relu"), nl.Network([2, 3, 1], "relu", loss="mse")
X, LABELS = np.random.default_rng(0).normal(size=(4, 2)), np.array([0, 1, 1, 0])
U, THETA = NET.potential(X, LABELS), NET.init(rng=0)
RADIAL, POINT = potentials.Radial(2), np.array([1.0, 0.5])
ORTHOGONAL = nl.Network([2, 3, 1], "tanh", bias=False, loss="mse").potential(np.eye(2), np.ones((2, 1)))
SCALAR = nl.Network([2, 1, 1], "relu", bias=False, loss="mse").potential(X[:2], np.ones((2, 1)))


def cube(z):
    return z * z * z


def of_cube(z):
    return 3 * z * z


def kinetic(t, x, v):
    return v @ v / 2


def still(t, x):
    return 0.0, x


def moved(e, t, x):
    return t, x + e


def square_length(x):
    return x[0] * x[0] + x[1] * x[1]


def double(x, out):
    for i in range(x.size):
        out[i] = 2 * x[i]


def flat(x):
    return 0.0, 0 * x


def square(lr, **_):
    return {"lr squared": lr**2}


SMALL = arch.Model(arch.Dense(2, 2), loss="mse")


def of_named(params):
    return NET.unpack(U.gradient(NET.pack(params)))


_temporary = tempfile.TemporaryDirectory()
atexit.register(_temporary.cleanup)
ROTATION = np.array([[0.0, -1.0], [1.0, 0.0]])
TREE = NET.unpack(NET.init(rng=0, bias_std=1.0))


@functools.cache
def made():
    """Return results, laws and a folder of files that calls are given, once a call needs one of them."""
    folder, laws = Path(_temporary.name), nl.scan(of_named, TREE).laws()
    run = nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, record_params=True, backend="reference")
    run.save(folder / "run")
    nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, checkpoint=folder / "checkpoint", backend="reference")
    nl.sweep(square, {"lr": [0.1]}, out=folder / "sweep")
    np.savez(folder / "data", X=X, y=LABELS)
    (folder / "X.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 7, 9]))
    (folder / "y.idx.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1])))
    np.savez(folder / "weights", **TREE)
    tensors.dump(laws, folder / "laws.json")
    return SimpleNamespace(
        folder=folder,
        laws=laws,
        gradient=of_named(TREE),
        run=run,
        lawful=nl.integrate(U, nl.Leapfrog(0.1), THETA, 3, backend="reference"),
        observed=nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, observe={"size": np.linalg.norm}, backend="reference"),
        study=ntk.width_study(widths=(2, 3), n_seeds=2, steps=1),
    )


MODULES = {
    "nl": nl, "datasets": datasets, "potentials": potentials, "plot": plot, "ntk": ntk, "figures": figures, "testing": testing,
    "lagrangian": lagrangian, "convert": convert, "bounds": bounds, "tensors": tensors, "arch": arch, "exact": exact,
}  # fmt: skip
# results and errors, which are not made by hand; kinds of which only others are made; and helpers without a place in the docs
MADE_BY_THE_LIBRARY = {
    "Algorithm", "Audit", "Charge", "Check", "CheckpointError", "ConservedPolynomial", "Coverage", "DeviceError", "DiscreteSymmetry", "Discovery",
    "DivergenceError",    "Drift", "Finding", "Flow", "Law", "LawCount", "LawRecord", "Leg", "Member", "Potential", "Report", "Scan", "Setup", "SlidingMode",
    "BalancedFlow", "FlowSolution", "InvariantRecord", "Snapshot", "Sweep", "SweepMember", "Trajectory", "Watch", "WidthStudy",
    "is_potential", "owned", "new_axes", "spans_a_decade",
}  # fmt: skip
# a right call of each, made when it is asked for: the function, and its arguments by name
CALLS = {
    "GD": lambda: (nl.GD, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "AdaGrad": lambda: (nl.AdaGrad, dict(lr=0.1, initial_accumulator=0.0, eps=1e-10, weight_decay=0.0, clip=None)),
    "BAOAB": lambda: (nl.BAOAB, dict(lr=0.1, temperature=1.0, gamma=1.0, mass=1.0, weight_decay=0.0, clip=None)),
    "Langevin": lambda: (nl.Langevin, dict(lr=0.1, temperature=1.0)),
    "SGLD": lambda: (nl.SGLD, dict(lr=0.1, temperature=1.0, weight_decay=0.0, clip=None)),
    "Adam": lambda: (nl.Adam, dict(lr=0.1, betas=(0.9, 0.999), eps=1e-8, decoupled=False, weight_decay=0.0, clip=None)),
    "Lion": lambda: (nl.Lion, dict(lr=0.1, betas=(0.9, 0.99), weight_decay=0.0, clip=None)),
    "Muon": lambda: (nl.Muon, dict(lr=0.1, momentum=0.95, nesterov=True, eps=1e-8, smoothing=0.999, corrected=True, weight_decay=0.0, clip=None)),
    "Nesterov": lambda: (nl.Nesterov, dict(lr=0.1, momentum=0.9, weight_decay=0.0, clip=None)),
    "RMSProp": lambda: (nl.RMSProp, dict(lr=0.1, smoothing=0.99, eps=1e-8, weight_decay=0.0, clip=None)),
    "schedule": lambda: (nl.schedule, dict(kind="step", peak=0.1, steps=9, warm_up=2, end=0.0, every=3, factor=0.5)),
    "SAM": lambda: (nl.SAM, dict(base=nl.GD(0.1), rho=0.05)),
    "SignGD": lambda: (nl.SignGD, dict(lr=0.1, momentum=0.0, weight_decay=0.0, clip=None)),
    "ExponentiatedGradient": lambda: (nl.ExponentiatedGradient, dict(lr=0.1, momentum=0.0, weight_decay=0.0, clip=None)),
    "SteepestDescent": lambda: (nl.SteepestDescent, dict(lr=0.1, p=2.0, weight_decay=0.0, clip=None)),
    "NAGD": lambda: (nl.NAGD, dict(lr=0.1, alpha=3.0, weight_decay=0.0, clip=None)),
    "Leapfrog": lambda: (nl.Leapfrog, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "HeavyBall": lambda: (nl.HeavyBall, dict(lr=0.1, momentum=0.9, dampening=0.0, first_step_damped=True, weight_decay=0.0, clip=None)),
    "ConformalLeapfrog": lambda: (nl.ConformalLeapfrog, dict(lr=0.1, mass=1.0, gamma=0.0, alpha=0.0, weight_decay=0.0, clip=None)),
    "Yoshida": lambda: (nl.Yoshida, dict(lr=0.1, order=4, mass=1.0, gamma=0.0, alpha=0.0, weight_decay=0.0, clip=None)),
    "ImplicitMidpoint": lambda: (nl.ImplicitMidpoint, dict(lr=0.1, dynamics="GF", iterations=16, weight_decay=0.0, clip=None)),
    "ProjectedGD": lambda: (nl.ProjectedGD, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "RK4": lambda: (nl.RK4, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "Dynamics": lambda: (nl.Dynamics, dict(mass=1.0, gamma=1.0, alpha=0.0)),
    "Dynamics.friction": lambda: (nl.NAGF.friction, dict(t=[1.0])),
    "Dynamics.integrating_factor": lambda: (nl.NAGF.integrating_factor, dict(t=[1.0])),
    "Dynamics.law_weight": lambda: (nl.NAGF.law_weight, dict(t=[1.0])),
    "Dynamics.fading": lambda: (nl.NAGF.fading, dict(t=[1.0], later=[2.0])),
    "Dynamics.lagrangian": lambda: (nl.NAGF.lagrangian, dict(t=1.0, v=[1.0], potential_value=1.0)),
    "Dynamics.energy": lambda: (nl.NAGF.energy, dict(v=[1.0], potential_value=1.0)),
    "Dynamics.energy_rate": lambda: (nl.NAGF.energy_rate, dict(t=1.0, v=[1.0])),
    "Dataset": lambda: (nl.Dataset, dict(X=X, y=LABELS, name="mine", rotation_invariant=False)),
    "Activation": lambda: (nl.Activation, dict(name="leaky_relu", parameter=0.1)),
    "Activation.custom": lambda: (nl.Activation.custom, dict(f=cube, df=of_cube)),
    "Network": lambda: (nl.Network, dict(widths=[2, 3, 2], activation="relu", bias=True, loss="nll")),
    "Network.unpack": lambda: (NET.unpack, dict(theta=THETA)),
    "Network.pack": lambda: (NET.pack, dict(arrays=NET.unpack(THETA))),
    "Network.block": lambda: (NET.block, dict(name="W1")),
    "Network.init": lambda: (NET.init, dict(rng=0, scheme="lecun", bias_std=0.0, scale=1.0)),
    "Network.weight_std": lambda: (NET.weight_std, dict(h=1, scheme="ntk")),
    "Network.potential": lambda: (NET.potential, dict(data=X, y=LABELS, sample_weight=np.ones(4), class_weight=[1.0, 2.0])),
    "Network.predict": lambda: (NET.predict, dict(theta=THETA, X=X)),
    "Network.loss_value": lambda: (NET.loss_value, dict(theta=THETA, X=X, y=LABELS)),
    "Network.gradient": lambda: (NET.gradient, dict(theta=THETA, X=X, y=LABELS)),
    "Network.value_and_gradient": lambda: (NET.value_and_gradient, dict(theta=THETA, X=X, y=LABELS)),
    "Network.jacobian": lambda: (NET.jacobian, dict(theta=THETA, X=X)),
    "Network.inputs": lambda: (NET.inputs, dict(X=X)),
    "Symmetry": lambda: (nl.Symmetry, dict(G=ROTATION, xi=[1.0, 0.0], name="mine")),
    "Symmetry.generator": lambda: (nl.Symmetry(ROTATION).generator, dict(x=POINT)),
    "Symmetry.quantity": lambda: (nl.Symmetry(np.eye(2)).quantity, dict(x=POINT)),
    "Symmetry.charge": lambda: (nl.Symmetry(ROTATION).charge, dict(x=POINT, v=POINT)),
    "Symmetry.source": lambda: (nl.Symmetry(np.eye(2)).source, dict(v=POINT)),
    "Symmetry.apply": lambda: (nl.Symmetry(ROTATION).apply, dict(x=POINT, strength=0.1)),
    "Symmetry.norm": lambda: (nl.Symmetry(ROTATION).norm, dict(x=POINT)),
    "Monitor": lambda: (nl.Monitor, dict(U=U, algorithm=nl.GD(0.1), precision=None, every=1, laws="all", minibatches=False, t0=None, noise_key=None)),
    "Monitor.step": lambda: (lambda theta, batch: nl.Monitor(U, nl.GD(0.1)).step(theta, batch), dict(theta=THETA, batch=[0, 1])),
    "Trajectory.plot_observed": lambda: (made().observed.plot_observed, dict(name="size", ax=None)),
    "Trajectory.plot_law": lambda: (made().lawful.plot_law, dict(name="scaling:1", what="residual", ax=None)),
    "LawRecord.largest": lambda: (made().lawful.laws["scaling:1"].largest, dict(what="residual")),
    "check": lambda: (nl.check, dict(U=RADIAL, params=made().run.params, t=made().run.t, dynamics=nl.GD(0.1), velocity=None, laws="all", minibatches=False, batches=None, precision=None, every=1, momentum_buffer=None, exp_avg=None, exp_avg_sq=None, noise_key=None)),
    "check.noise": lambda: (lambda noise_key: nl.check(RADIAL, made().run.params, dynamics=nl.SGLD(0.1), noise_key=noise_key), dict(noise_key=0)),
    "check.averages": lambda: (lambda exp_avg, exp_avg_sq: nl.check(RADIAL, made().run.params, dynamics=nl.Adam(0.1), exp_avg=exp_avg, exp_avg_sq=exp_avg_sq), dict(exp_avg=0 * made().run.params, exp_avg_sq=0 * made().run.params)),
    "check.buffer": lambda: (lambda momentum_buffer: nl.check(RADIAL, made().run.params, dynamics=nl.HeavyBall(0.1), momentum_buffer=momentum_buffer), dict(momentum_buffer=0 * made().run.params)),
    "conserved_polynomials": lambda: (nl.conserved_polynomials, dict(net=SMALL, degree=2, flow="gradient", rng=0)),
    "count_laws": lambda: (nl.count_laws, dict(net=MSE, flow="gradient", rng=0, memory=2.0**32, theta=None, X=None)),
    "discrete_symmetries": lambda: (nl.discrete_symmetries, dict(U=U)),
    "hessian_product": lambda: (nl.hessian_product, dict(U=U, x=THETA, v=THETA)),
    "sharpness": lambda: (nl.sharpness, dict(U=RADIAL, x=POINT, k=1, rtol=1e-8, rng=0)),
    "discover": lambda: (nl.discover, dict(U=RADIAL, rng=0, memory=2.0**32)),
    "drift": lambda: (nl.drift, dict(U=U, algorithm=nl.GD(0.1), x0=THETA, steps=2, velocity=None, t0=None, record_every=1, laws="all", batch_size=None, rng=0, backend="reference", n_threads=None)),
    "ensemble": lambda: (nl.ensemble, dict(U=RADIAL, algorithm=nl.Leapfrog(0.1), X0=[POINT, POINT], steps=2, velocity=None, t0=None, record_every=1, record_params=False, record_sharpness=1, observe={"size": np.linalg.norm}, laws="all", batch_size=None, rng=0, backend="reference", dtype="float64", progress=False, n_threads=None, input_reduction=None, checkpoint=None, checkpoint_every=None)),
    "integrate": lambda: (nl.integrate, dict(U=RADIAL, algorithm=nl.Leapfrog(0.1), x0=POINT, steps=2, velocity=None, t0=None, record_every=1, record_params=False, record_sharpness=1, observe={"size": np.linalg.norm}, laws="all", batch_size=None, rng=0, backend="reference", dtype="float64", progress=False, callback=None, on_divergence="record", n_threads=None, input_reduction=None, checkpoint=None, checkpoint_every=None)),
    "law": lambda: (nl.law, dict(symmetry="scaling:1", dynamics=nl.ND, summed=False)),
    "Law.formula": lambda: (nl.law(nl.Symmetry(ROTATION), nl.ND).formula, dict(format="text")),
    "memory": lambda: (nl.memory, dict(U=U, steps=2, networks=None, record_every=1, record_params=False, record_sharpness=2, observe={"sum": np.sum}, laws="all", batch_size=None, dtype="float64", n_threads=None, input_reduction=None, algorithm=nl.Adam(0.1))),
    "rebalance": lambda: (nl.rebalance, dict(network=NET, theta=THETA, targets={"scaling:1": np.zeros(3)})),
    "parametrization": lambda: (nl.parametrization, dict(network=MSE, kind="mup", lr=0.1, rng=0, scheme="lecun", bias_std=0.0)),
    "invariants": lambda: (nl.invariants, dict(U=ORTHOGONAL)),
    "Invariant": lambda: (nl.Invariant, dict(field=np.zeros_like, quantity=np.sum, name="mine")),
    "Invariant.field": lambda: (nl.invariants(ORTHOGONAL)[0].field, dict(x=np.ones(ORTHOGONAL.n_params))),
    "Invariant.quantity": lambda: (nl.invariants(ORTHOGONAL)[0].quantity, dict(x=np.ones(ORTHOGONAL.n_params))),
    "Invariant.defects": lambda: (nl.invariants(ORTHOGONAL)[0].defects, dict(U=ORTHOGONAL, rng=0)),
    "Invariant.verify": lambda: (nl.invariants(ORTHOGONAL)[0].verify, dict(U=ORTHOGONAL)),
    "Invariant.record": lambda: (nl.invariants(ORTHOGONAL)[0].record, dict(U=ORTHOGONAL, params=np.ones((2, ORTHOGONAL.n_params)), algorithm=nl.Leapfrog(0.1), t0=0.0)),
    "noise_equilibrium": lambda: (nl.noise_equilibrium, dict(U=U, theta=THETA)),
    "teleport": lambda: (nl.teleport, dict(U=U, theta=THETA, gradient_norm=2.0)),
    "reference_flow": lambda: (nl.reference_flow, dict(U=RADIAL, dynamics=nl.ND, x0=POINT, t=[0.0, 0.1], velocity=None, t0=0.0, rtol=1e-6, atol=1e-6, max_evaluations=1000)),
    "report": lambda: (nl.report, dict(what=made().run, title="mine")),
    "load": lambda: (nl.load, dict(path=made().folder / "run.npz")),
    "load_sweep": lambda: (nl.load_sweep, dict(path=made().folder / "sweep")),
    "resume": lambda: (nl.resume, dict(path=made().folder / "checkpoint.npz", potential=None, steps=3, observe=None, checkpoint_every=None, progress=False, callback=None, n_threads=None)),
    "scan": lambda: (nl.scan, dict(gradient=of_named, params=TREE, rng=0, draws=None, spread=0.1, views=None)),
    "scan_pairs": lambda: (nl.scan_pairs, dict(pairs=[(TREE, made().gradient)] * 3, views=None)),
    "sweep": lambda: (nl.sweep, dict(function=square, grid={"lr": [0.1]}, executor=None, out=None, rng=0, key=None, progress=False)),
    "symmetries": lambda: (nl.symmetries, dict(U=U, rng=0)),
    "symmetry_defect": lambda: (nl.symmetry_defect, dict(U=U, symmetry="scaling:1", rng=0)),
    "watch": lambda: (nl.watch, dict(laws=made().laws, every=1, raise_on_broken=False, precision=None, summands=None, averaging=None, anchor=None)),
    "gaussian_classes": lambda: (datasets.gaussian_classes, dict(n=4, n_features=2, n_classes=3, separation=3.0, rng=0)),
    "glyphs": lambda: (datasets.glyphs, dict(n=2, rng=0)),
    "two_moons": lambda: (datasets.two_moons, dict(n=4, noise=0.1, rng=0)),
    "spirals": lambda: (datasets.spirals, dict(n=4, n_classes=2, turns=1.0, noise=0.1, rng=0)),
    "xor_clusters": lambda: (datasets.xor_clusters, dict(n=4, n_features=2, separation=3.0, rng=0)),
    "sparse_parity": lambda: (datasets.sparse_parity, dict(n=4, n_features=3, k=2, rng=0)),
    "index_model": lambda: (datasets.index_model, dict(n=4, n_features=3, n_directions=2, link=2, noise=0.1, rng=0)),
    "linear_regression": lambda: (datasets.linear_regression, dict(n=4, spectrum=[1.0, 0.5], noise=0.1, rng=0)),
    "idx": lambda: (datasets.idx, dict(inputs=made().folder / "X.idx", targets=made().folder / "y.idx.gz")),
    "icosahedron": lambda: (datasets.icosahedron, dict(label=0.6, radii=(1.0,))),
    "kmnist": lambda: (datasets.kmnist, dict(n=2, split="train", root=made().folder, rng=0, download=False)),
    "npz": lambda: (datasets.npz, dict(path=made().folder / "data.npz", rotation_invariant=False)),
    "polygon": lambda: (datasets.polygon, dict(n=4, radii=(1.0,), label=0.6)),
    "NetworkPotential": lambda: (potentials.NetworkPotential, dict(network=NET, data=X, y=LABELS, sample_weight=np.ones(4), class_weight=[1.0, 2.0])),
    "Radial": lambda: (potentials.Radial, dict(n_params=3)),
    "Harmonic": lambda: (potentials.Harmonic, dict(A=np.eye(2))),
    "potentials.Compiled": lambda: (potentials.Compiled, dict(value=square_length, gradient=double, n_params=2)),
    "Callable": lambda: (potentials.Callable, dict(value_and_gradient=flat, n_params=2)),
    "CommitteeMachine": lambda: (potentials.CommitteeMachine, dict(teacher=np.eye(2), width=2, activation="relu", teacher_readout=[1.0, 2.0], trained_readout=False)),
    "DiagonalLinear": lambda: (potentials.DiagonalLinear, dict(X=np.ones((3, 2)), y=np.ones(3))),
    "LogSumExp": lambda: (potentials.LogSumExp, dict(A=np.eye(2))),
    "MatrixCompletion": lambda: (potentials.MatrixCompletion, dict(target=np.eye(2), mask=np.ones((2, 2), bool), hidden=2)),
    "MatrixFactorization": lambda: (potentials.MatrixFactorization, dict(target=np.eye(2), hidden=2)),
    "MatrixSensing": lambda: (potentials.MatrixSensing, dict(A=np.ones((3, 2, 2)), y=np.ones(3), hidden=2)),
    "PhaseRetrieval": lambda: (potentials.PhaseRetrieval, dict(A=np.eye(3), y=np.ones(3))),
    "TensorDecomposition": lambda: (potentials.TensorDecomposition, dict(target=np.ones((2, 2, 2)), rank=2)),
    "Potential.value": lambda: (U.value, dict(x=THETA)),
    "Potential.gradient": lambda: (U.gradient, dict(x=THETA)),
    "Callable.value_and_gradient": lambda: (potentials.Callable(flat, 2).value_and_gradient, dict(x=POINT)),
    "plot.loss": lambda: (plot.loss, dict(trajectory=made().run, ax=None)),
    "plot.energy": lambda: (plot.energy, dict(trajectory=made().run, ax=None)),
    "plot.law": lambda: (plot.law, dict(trajectory=made().lawful, name="scaling:1", what="residual", ax=None)),
    "plot.residuals": lambda: (plot.residuals, dict(trajectory=made().run, ax=None)),
    "plot.bounds": lambda: (plot.bounds, dict(trajectory=made().lawful, name="scaling:1", dynamics=nl.ND, ax=None)),
    "plot.check": lambda: (plot.check, dict(report=nl.check(RADIAL, made().run.params, made().run.t, nl.GD(0.1)), ax=None)),
    "plot.drift": lambda: (plot.drift, dict(report=nl.drift(U, nl.GD(0.1), THETA, 2, backend="reference"), name="scaling:1", component=0, ax=None)),
    "plot.singular_values": lambda: (plot.singular_values, dict(discovery=nl.discover(RADIAL), ax=None)),
    "plot.closure": lambda: (plot.closure, dict(count=nl.count_laws(MSE), ax=None)),
    "plot.sweep": lambda: (plot.sweep, dict(members=nl.sweep(square, {"lr": [0.1]}), x="lr", y="lr squared", ax=None)),
    "infinite_width": lambda: (ntk.infinite_width, dict(net=MSE, X1=X, X2=X, scheme="ntk", bias_std=0.0, parametrization="ntk")),
    "kernel": lambda: (ntk.kernel, dict(net=NET, theta=THETA, X1=X, X2=X)),
    "ntk.predict": lambda: (ntk.predict, dict(kernel=np.eye(2), u0=np.ones((2, 1)), t=[1.0], dynamics=nl.GF, n_samples=2)),
    "predict_parameters": lambda: (ntk.predict_parameters, dict(net=MSE, theta=MSE.init(rng=0), X=X, y=np.ones((4, 1)), t=[1.0], dynamics=nl.GF)),
    "width_study": lambda: (ntk.width_study, dict(data=None, widths=(2, 3), n_seeds=2, hidden_layers=1, activation="relu", lr=0.1, steps=1, rng=0, progress=False)),
    "figures.figure1": lambda: (figures.figure1, dict(n_samples=512, steps=10, lr=0.1, rng=0, progress=False)),
    "figures.figure2": lambda: (figures.figure2, dict(n_samples=512, steps=10, lr=0.1, rng=0, progress=False)),
    "ntk_widths": lambda: (figures.ntk_widths, dict(study=made().study)),
    "figures.batch_size": lambda: (figures.batch_size, dict(seeds=2)),
    "figures.figure3": lambda: (figures.figure3, {}),
    "figures.figure4": lambda: (figures.figure4, {}),
    "figures.figure5": lambda: (figures.figure5, {}),
    "figures.figure6": lambda: (figures.figure6, {}),
    "figures.discretisation": lambda: (figures.discretisation, {}),
    "figures.save": lambda: (figures.save, dict(number=3, folder=made().folder)),
    "assert_symmetric": lambda: (testing.assert_symmetric, dict(params=TREE, grads=made().gradient, laws=made().laws, precision=None, summands=None)),
    "assert_gradient": lambda: (testing.assert_gradient, dict(U=RADIAL, gradient=RADIAL.gradient, x=POINT, rng=0, precision=None)),
    "assert_law_holds": lambda: (testing.assert_law_holds, dict(U=RADIAL, params=made().run.params, t=made().run.t, dynamics=nl.GD(0.1), laws="all", motion=False)),
    "two_layer_linear": lambda: (exact.two_layer_linear, dict(W1=np.eye(2), W2=np.eye(2), Sigma=np.eye(2), t=[0.0, 1.0])),
    "decoupled_modes": lambda: (exact.decoupled_modes, dict(singular_values=[2.0, 1.0], start=0.1, t=[0.0, 1.0], depth=2)),
    "function_space_velocity": lambda: (exact.function_space_velocity, dict(z=np.ones((1, 1, 2)), charge=[1.0], force=np.ones((1, 1, 2)))),
    "modified_field": lambda: (exact.modified_field, dict(U=RADIAL, x=POINT, lr=0.1, order=1)),
    "modified_gradient": lambda: (exact.modified_gradient, dict(U=RADIAL, x=POINT, lr=0.1, order=1)),
    "sharpness_of_flow": lambda: (exact.sharpness_of_flow, dict(w=[1.0, 0.5], s=1.0)),
    "modified_flow": lambda: (exact.modified_flow, dict(U=RADIAL, x0=POINT, lr=0.1, t=[0.0, 1.0], order=1, rtol=1e-6, max_evaluations=1000)),
    "neuron_products": lambda: (exact.neuron_products, dict(U=NET.potential(X, LABELS), x=THETA)),
    "relu_function_flow": lambda: (exact.relu_function_flow, dict(U=SCALAR, x0=[0.5, 0.1, 1.0], t=[0.0, 0.1], rtol=1e-6, atol=1e-6, max_evaluations=1000)),
    "scalar_network": lambda: (exact.scalar_network, dict(weights=[1.0, 0.5], target=1.0)),
    "scale_invariant_norm": lambda: (exact.scale_invariant_norm, dict(lr=0.1, weight_decay=0.1, gradient_square=1.0)),
    "lagrangian.momentum": lambda: (lagrangian.momentum, dict(L=kinetic, t=0.0, x=POINT, v=POINT)),
    "lagrangian.hamiltonian": lambda: (lagrangian.hamiltonian, dict(L=kinetic, t=0.0, x=POINT, v=POINT)),
    "lagrangian.rund_trautmann": lambda: (lagrangian.rund_trautmann, dict(L=kinetic, generator=still, t=0.0, x=POINT, v=POINT)),
    "lagrangian.noether_charge": lambda: (lagrangian.noether_charge, dict(L=kinetic, generator=still, t=0.0, x=POINT, v=POINT)),
    "generator_of": lambda: (lagrangian.generator_of, dict(group=moved)),
    "group_from_generator": lambda: (lagrangian.group_from_generator, dict(A=ROTATION, strength=0.1)),
    "generator_from_group": lambda: (lagrangian.generator_from_group, dict(M=np.eye(2))),
    "lagrangian.action": lambda: (lagrangian.action, dict(L=kinetic, t=[0.0, 1.0], path=[POINT, POINT])),
    "lagrangian.action_gradient": lambda: (lagrangian.action_gradient, dict(L=kinetic, t=[0.0, 1.0, 2.0], path=[POINT, POINT, POINT])),
    "from_torch": lambda: (convert.from_torch, dict(network=NET, state_dict=convert.to_torch(NET, THETA), order=None, like=None)),
    "to_torch": lambda: (convert.to_torch, dict(network=NET, theta=THETA, order=None)),
    "from_flax": lambda: (convert.from_flax, dict(network=NET, tree=convert.to_flax(NET, THETA), order=None, like=None)),
    "to_flax": lambda: (convert.to_flax, dict(network=NET, theta=THETA, order=None)),
    "from_equinox": lambda: (convert.from_equinox, dict(network=NET, layers=convert.to_equinox(NET, THETA), like=None)),
    "to_equinox": lambda: (convert.to_equinox, dict(network=NET, theta=THETA)),
    "from_keras": lambda: (convert.from_keras, dict(network=NET, weights=convert.to_keras(NET, THETA), like=None)),
    "to_keras": lambda: (convert.to_keras, dict(network=NET, theta=THETA)),
    "bounds.charge": lambda: (bounds.charge_bound, dict(U0=1.0, t=[1.0], alpha=0.0)),
    "bounds.quantity": lambda: (bounds.quantity_bound, dict(U0=1.0, t=[1.0], alpha=0.0)),
    "mean_speed_bound": lambda: (bounds.mean_speed_bound, dict(U0=1.0, n_params=2, mass=1.0)),
    "Averaging": lambda: (tensors.Averaging, dict(beta=0.9, weight=None, decay=0.0)),
    "Anchor": lambda: (tensors.Anchor, dict(weight="W3", bias="b3", reduction="mean", ignored=-100)),
    "audit": lambda: (tensors.audit, dict(params=TREE, laws=made().laws, state=None, following=None, averaging=0.9, precision=None)),
    "dump": lambda: (tensors.dump, dict(laws=made().laws, path=made().folder / "laws.json")),
    "tensors.load": lambda: (tensors.load, dict(path=made().folder / "laws.json")),
    "tensors.read": lambda: (tensors.read, dict(path=made().folder / "weights.npz")),
    "arch.Block": lambda: (arch.Block, {}),
    "arch.Chain": lambda: (arch.Chain, {}),
    "arch.Residual": lambda: (arch.Residual, {}),
    "arch.Model": lambda: (arch.Model, dict(loss="any")),
    "arch.Model.on_symmetric_data": lambda: (SMALL.on_symmetric_data, dict(matrix=[[0.0, 1.0], [1.0, 0.0]])),
    "arch.Model.init": lambda: (SMALL.init, dict(rng=0)),
    "arch.Model.predict": lambda: (SMALL.predict, dict(params=SMALL.init(0), X=X)),
    "arch.Model.gradient": lambda: (SMALL.gradient, dict(params=SMALL.init(0), X=X, y=X)),
    "arch.Activation": lambda: (arch.Activation, dict(name="gelu")),
    "arch.Attention": lambda: (arch.Attention, dict(d=3, heads=2, head_width=2, kv_heads=1, outputs=2, bias=False, causal=False, rope=False, qk_norm=False, eps=0.0)),
    "arch.BatchNorm": lambda: (arch.BatchNorm, dict(d=3, eps=0.0)),
    "arch.LayerNorm": lambda: (arch.LayerNorm, dict(d=3, eps=0.0)),
    "arch.RMSNorm": lambda: (arch.RMSNorm, dict(d=3, eps=0.0, gain=True)),
    "arch.Convolution": lambda: (arch.Convolution, dict(inputs=1, outputs=2, kernel=2, dimensions=1, bias=False)),
    "arch.Dense": lambda: (arch.Dense, dict(inputs=2, outputs=3, bias=False, tied="")),
    "arch.Embedding": lambda: (arch.Embedding, dict(inputs=2, d=3, positions_learned=0, tokens=False)),
    "arch.Experts": lambda: (arch.Experts, dict(d=2, hidden=2, experts=2, gate="softmax")),
    "arch.LowRank": lambda: (arch.LowRank, dict(inputs=2, outputs=3, rank=1)),
    "arch.SwiGLU": lambda: (arch.SwiGLU, dict(d=2, hidden=3)),
    "arch.MLP": lambda: (arch.MLP, dict(widths=[2, 3, 2], activation="relu", gate=None, bias=False)),
    "arch.Conv1d": lambda: (arch.Conv1d, dict(channels=[1, 2, 1], kernels=[2, 2], activation="relu")),
    "arch.Transformer": lambda: (arch.Transformer, dict(d=3, heads=2, head_width=2, layers=1, mlp="gelu", mlp_width=2, norm="layer", eps=0.0, bias=True, embed=3, vocab=3, loss="nll", kv_heads=1, rope=False, qk_norm=False, causal=False, final_norm=True, residual=True, tied=False, positions_learned=0, tokens=False)),
}  # fmt: skip


def right_call(name):
    """Return the function of a call, and its arguments by name."""
    function, arguments = CALLS[name]()
    if isinstance(function, type) and issubclass(function, nl.Algorithm):  # what all algorithms take
        arguments |= {"grad_accumulation": 1, "sam": 0.0}
    return function, arguments


# They train, and solve a stiff equation at large rates.
SLOW = {name for name in CALLS if name.startswith("figures.")} | {"modified_flow"}
