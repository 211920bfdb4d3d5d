"""A right call of everything public: the function, and its arguments by name. Other tests replace arguments, or the setting."""

# ruff: noqa: C408 - dict(lr=0.1) reads as the call it stands for

import atexit
import gzip
import tempfile
from pathlib import Path

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
FOLDER = Path(_temporary.name)
ROTATION = np.array([[0.0, -1.0], [1.0, 0.0]])
TREE = NET.unpack(NET.init(rng=0, bias_std=1.0))
GRADIENT = of_named(TREE)
LAWS = nl.scan(of_named, TREE).laws()
RUN = nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, record_params=True, backend="reference")
LAWFUL = nl.integrate(U, nl.Leapfrog(0.1), THETA, 3, backend="reference")
OBSERVED = nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, observe={"size": np.linalg.norm}, backend="reference")
STUDY = ntk.width_study(widths=(2, 3), n_seeds=2, steps=1)
RUN.save(FOLDER / "run")
nl.integrate(RADIAL, nl.GD(0.1), POINT, 3, checkpoint=FOLDER / "checkpoint", backend="reference")
nl.sweep(square, {"lr": [0.1]}, out=FOLDER / "sweep")
np.savez(FOLDER / "data", X=X, y=LABELS)
(FOLDER / "X.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 7, 9]))
(FOLDER / "y.idx.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 0, 1])))
np.savez(FOLDER / "weights", **TREE)
tensors.dump(LAWS, FOLDER / "laws.json")

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
# a right call of each: the function, and its arguments by name
CALLS = {
    "GD": (nl.GD, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "AdaGrad": (nl.AdaGrad, dict(lr=0.1, initial_accumulator=0.0, eps=1e-10, weight_decay=0.0, clip=None)),
    "BAOAB": (nl.BAOAB, dict(lr=0.1, temperature=1.0, gamma=1.0, mass=1.0, weight_decay=0.0, clip=None)),
    "Langevin": (nl.Langevin, dict(lr=0.1, temperature=1.0)),
    "SGLD": (nl.SGLD, dict(lr=0.1, temperature=1.0, weight_decay=0.0, clip=None)),
    "Adam": (nl.Adam, dict(lr=0.1, betas=(0.9, 0.999), eps=1e-8, decoupled=False, weight_decay=0.0, clip=None)),
    "Lion": (nl.Lion, dict(lr=0.1, betas=(0.9, 0.99), weight_decay=0.0, clip=None)),
    "Muon": (nl.Muon, dict(lr=0.1, momentum=0.95, nesterov=True, eps=1e-8, smoothing=0.999, weight_decay=0.0, clip=None)),
    "Nesterov": (nl.Nesterov, dict(lr=0.1, momentum=0.9, weight_decay=0.0, clip=None)),
    "RMSProp": (nl.RMSProp, dict(lr=0.1, smoothing=0.99, eps=1e-8, weight_decay=0.0, clip=None)),
    "schedule": (nl.schedule, dict(kind="step", peak=0.1, steps=9, warm_up=2, end=0.0, every=3, factor=0.5)),
    "SAM": (nl.SAM, dict(base=nl.GD(0.1), rho=0.05)),
    "SignGD": (nl.SignGD, dict(lr=0.1, momentum=0.0, weight_decay=0.0, clip=None)),
    "ExponentiatedGradient": (nl.ExponentiatedGradient, dict(lr=0.1, momentum=0.0, weight_decay=0.0, clip=None)),
    "SteepestDescent": (nl.SteepestDescent, dict(lr=0.1, p=2.0, weight_decay=0.0, clip=None)),
    "NAGD": (nl.NAGD, dict(lr=0.1, alpha=3.0, weight_decay=0.0, clip=None)),
    "Leapfrog": (nl.Leapfrog, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "HeavyBall": (nl.HeavyBall, dict(lr=0.1, momentum=0.9, dampening=0.0, first_step_damped=True, weight_decay=0.0, clip=None)),
    "ConformalLeapfrog": (nl.ConformalLeapfrog, dict(lr=0.1, mass=1.0, gamma=0.0, alpha=0.0, weight_decay=0.0, clip=None)),
    "Yoshida": (nl.Yoshida, dict(lr=0.1, order=4, mass=1.0, gamma=0.0, alpha=0.0, weight_decay=0.0, clip=None)),
    "ImplicitMidpoint": (nl.ImplicitMidpoint, dict(lr=0.1, dynamics="GF", iterations=16, weight_decay=0.0, clip=None)),
    "ProjectedGD": (nl.ProjectedGD, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "RK4": (nl.RK4, dict(lr=0.1, weight_decay=0.0, clip=None)),
    "Dynamics": (nl.Dynamics, dict(mass=1.0, gamma=1.0, alpha=0.0)),
    "Dynamics.friction": (nl.NAGF.friction, dict(t=[1.0])),
    "Dynamics.integrating_factor": (nl.NAGF.integrating_factor, dict(t=[1.0])),
    "Dynamics.law_weight": (nl.NAGF.law_weight, dict(t=[1.0])),
    "Dynamics.fading": (nl.NAGF.fading, dict(t=[1.0], later=[2.0])),
    "Dynamics.lagrangian": (nl.NAGF.lagrangian, dict(t=1.0, v=[1.0], potential_value=1.0)),
    "Dynamics.energy": (nl.NAGF.energy, dict(v=[1.0], potential_value=1.0)),
    "Dynamics.energy_rate": (nl.NAGF.energy_rate, dict(t=1.0, v=[1.0])),
    "Dataset": (nl.Dataset, dict(X=X, y=LABELS, name="mine", rotation_invariant=False)),
    "Activation": (nl.Activation, dict(name="leaky_relu", parameter=0.1)),
    "Activation.custom": (nl.Activation.custom, dict(f=cube, df=of_cube)),
    "Network": (nl.Network, dict(widths=[2, 3, 2], activation="relu", bias=True, loss="nll")),
    "Network.unpack": (NET.unpack, dict(theta=THETA)),
    "Network.pack": (NET.pack, dict(arrays=NET.unpack(THETA))),
    "Network.block": (NET.block, dict(name="W1")),
    "Network.init": (NET.init, dict(rng=0, scheme="lecun", bias_std=0.0, scale=1.0)),
    "Network.weight_std": (NET.weight_std, dict(h=1, scheme="ntk")),
    "Network.potential": (NET.potential, dict(data=X, y=LABELS, sample_weight=np.ones(4), class_weight=[1.0, 2.0])),
    "Network.predict": (NET.predict, dict(theta=THETA, X=X)),
    "Network.loss_value": (NET.loss_value, dict(theta=THETA, X=X, y=LABELS)),
    "Network.gradient": (NET.gradient, dict(theta=THETA, X=X, y=LABELS)),
    "Network.value_and_gradient": (NET.value_and_gradient, dict(theta=THETA, X=X, y=LABELS)),
    "Network.jacobian": (NET.jacobian, dict(theta=THETA, X=X)),
    "Network.inputs": (NET.inputs, dict(X=X)),
    "Symmetry": (nl.Symmetry, dict(G=ROTATION, xi=[1.0, 0.0], name="mine")),
    "Symmetry.generator": (nl.Symmetry(ROTATION).generator, dict(x=POINT)),
    "Symmetry.quantity": (nl.Symmetry(np.eye(2)).quantity, dict(x=POINT)),
    "Symmetry.charge": (nl.Symmetry(ROTATION).charge, dict(x=POINT, v=POINT)),
    "Symmetry.source": (nl.Symmetry(np.eye(2)).source, dict(v=POINT)),
    "Symmetry.apply": (nl.Symmetry(ROTATION).apply, dict(x=POINT, strength=0.1)),
    "Symmetry.norm": (nl.Symmetry(ROTATION).norm, dict(x=POINT)),
    "Monitor": (nl.Monitor, dict(U=U, algorithm=nl.GD(0.1), precision=None, every=1, laws="all", minibatches=False, t0=None, noise_key=None)),
    "Monitor.step": (lambda theta, batch: nl.Monitor(U, nl.GD(0.1)).step(theta, batch), dict(theta=THETA, batch=[0, 1])),
    "Trajectory.plot_observed": (OBSERVED.plot_observed, dict(name="size", ax=None)),
    "Trajectory.plot_law": (LAWFUL.plot_law, dict(name="scaling:1", what="residual", ax=None)),
    "LawRecord.largest": (LAWFUL.laws["scaling:1"].largest, dict(what="residual")),
    "check": (nl.check, dict(U=RADIAL, params=RUN.params, t=RUN.t, dynamics=nl.GD(0.1), velocity=None, laws="all", minibatches=False, batches=None, precision=None, every=1, momentum_buffer=None, exp_avg=None, exp_avg_sq=None, noise_key=None)),
    "check.noise": (lambda noise_key: nl.check(RADIAL, RUN.params, dynamics=nl.SGLD(0.1), noise_key=noise_key), dict(noise_key=0)),
    "check.averages": (lambda exp_avg, exp_avg_sq: nl.check(RADIAL, RUN.params, dynamics=nl.Adam(0.1), exp_avg=exp_avg, exp_avg_sq=exp_avg_sq), dict(exp_avg=0 * RUN.params, exp_avg_sq=0 * RUN.params)),
    "check.buffer": (lambda momentum_buffer: nl.check(RADIAL, RUN.params, dynamics=nl.HeavyBall(0.1), momentum_buffer=momentum_buffer), dict(momentum_buffer=0 * RUN.params)),
    "conserved_polynomials": (nl.conserved_polynomials, dict(net=SMALL, degree=2, flow="gradient", rng=0)),
    "count_laws": (nl.count_laws, dict(net=MSE, flow="gradient", rng=0, memory=2.0**32, theta=None, X=None)),
    "discrete_symmetries": (nl.discrete_symmetries, dict(U=U)),
    "hessian_product": (nl.hessian_product, dict(U=U, x=THETA, v=THETA)),
    "sharpness": (nl.sharpness, dict(U=RADIAL, x=POINT, k=1, rtol=1e-8, rng=0)),
    "discover": (nl.discover, dict(U=RADIAL, rng=0, memory=2.0**32)),
    "drift": (nl.drift, dict(U=U, algorithm=nl.GD(0.1), x0=THETA, steps=2, velocity=None, t0=None, record_every=1, laws="all", batch_size=None, rng=0, backend="reference", n_threads=None)),
    "ensemble": (nl.ensemble, dict(U=RADIAL, algorithm=nl.Leapfrog(0.1), X0=[POINT, POINT], steps=2, velocity=None, t0=None, record_every=1, record_params=False, record_sharpness=1, observe={"size": np.linalg.norm}, laws="all", batch_size=None, rng=0, backend="reference", dtype="float64", progress=False, n_threads=None, input_reduction=None, checkpoint=None, checkpoint_every=None)),
    "integrate": (nl.integrate, dict(U=RADIAL, algorithm=nl.Leapfrog(0.1), x0=POINT, steps=2, velocity=None, t0=None, record_every=1, record_params=False, record_sharpness=1, observe={"size": np.linalg.norm}, laws="all", batch_size=None, rng=0, backend="reference", dtype="float64", progress=False, callback=None, on_divergence="record", n_threads=None, input_reduction=None, checkpoint=None, checkpoint_every=None)),
    "law": (nl.law, dict(symmetry="scaling:1", dynamics=nl.ND, summed=False)),
    "Law.formula": (nl.law(nl.Symmetry(ROTATION), nl.ND).formula, dict(format="text")),
    "memory": (nl.memory, dict(U=U, steps=2, networks=None, record_every=1, record_params=False, record_sharpness=2, observe={"sum": np.sum}, laws="all", batch_size=None, dtype="float64", n_threads=None, input_reduction=None, algorithm=nl.Adam(0.1))),
    "rebalance": (nl.rebalance, dict(network=NET, theta=THETA, targets={"scaling:1": np.zeros(3)})),
    "parametrization": (nl.parametrization, dict(network=MSE, kind="mup", lr=0.1, rng=0, scheme="lecun", bias_std=0.0)),
    "invariants": (nl.invariants, dict(U=ORTHOGONAL)),
    "Invariant": (nl.Invariant, dict(field=np.zeros_like, quantity=np.sum, name="mine")),
    "Invariant.field": (nl.invariants(ORTHOGONAL)[0].field, dict(x=np.ones(ORTHOGONAL.n_params))),
    "Invariant.quantity": (nl.invariants(ORTHOGONAL)[0].quantity, dict(x=np.ones(ORTHOGONAL.n_params))),
    "Invariant.defects": (nl.invariants(ORTHOGONAL)[0].defects, dict(U=ORTHOGONAL, rng=0)),
    "Invariant.verify": (nl.invariants(ORTHOGONAL)[0].verify, dict(U=ORTHOGONAL)),
    "Invariant.record": (nl.invariants(ORTHOGONAL)[0].record, dict(U=ORTHOGONAL, params=np.ones((2, ORTHOGONAL.n_params)), algorithm=nl.Leapfrog(0.1), t0=0.0)),
    "noise_equilibrium": (nl.noise_equilibrium, dict(U=U, theta=THETA)),
    "teleport": (nl.teleport, dict(U=U, theta=THETA, gradient_norm=2.0)),
    "reference_flow": (nl.reference_flow, dict(U=RADIAL, dynamics=nl.ND, x0=POINT, t=[0.0, 0.1], velocity=None, t0=0.0, rtol=1e-6, atol=1e-6, max_evaluations=1000)),
    "report": (nl.report, dict(what=RUN, title="mine")),
    "load": (nl.load, dict(path=FOLDER / "run.npz")),
    "load_sweep": (nl.load_sweep, dict(path=FOLDER / "sweep")),
    "resume": (nl.resume, dict(path=FOLDER / "checkpoint.npz", potential=None, steps=3, observe=None, checkpoint_every=None, progress=False, callback=None, n_threads=None)),
    "scan": (nl.scan, dict(gradient=of_named, params=TREE, rng=0, draws=None, spread=0.1, views=None)),
    "scan_pairs": (nl.scan_pairs, dict(pairs=[(TREE, GRADIENT)] * 3, views=None)),
    "sweep": (nl.sweep, dict(function=square, grid={"lr": [0.1]}, executor=None, out=None, rng=0, key=None, progress=False)),
    "symmetries": (nl.symmetries, dict(U=U, rng=0)),
    "symmetry_defect": (nl.symmetry_defect, dict(U=U, symmetry="scaling:1", rng=0)),
    "watch": (nl.watch, dict(laws=LAWS, every=1, raise_on_broken=False, precision=None, summands=None, averaging=None, anchor=None)),
    "gaussian_classes": (datasets.gaussian_classes, dict(n=4, n_features=2, n_classes=3, separation=3.0, rng=0)),
    "glyphs": (datasets.glyphs, dict(n=2, rng=0)),
    "two_moons": (datasets.two_moons, dict(n=4, noise=0.1, rng=0)),
    "spirals": (datasets.spirals, dict(n=4, n_classes=2, turns=1.0, noise=0.1, rng=0)),
    "xor_clusters": (datasets.xor_clusters, dict(n=4, n_features=2, separation=3.0, rng=0)),
    "sparse_parity": (datasets.sparse_parity, dict(n=4, n_features=3, k=2, rng=0)),
    "index_model": (datasets.index_model, dict(n=4, n_features=3, n_directions=2, link=2, noise=0.1, rng=0)),
    "linear_regression": (datasets.linear_regression, dict(n=4, spectrum=[1.0, 0.5], noise=0.1, rng=0)),
    "idx": (datasets.idx, dict(inputs=FOLDER / "X.idx", targets=FOLDER / "y.idx.gz")),
    "icosahedron": (datasets.icosahedron, dict(label=0.6, radii=(1.0,))),
    "kmnist": (datasets.kmnist, dict(n=2, split="train", root=FOLDER, rng=0, download=False)),
    "npz": (datasets.npz, dict(path=FOLDER / "data.npz", rotation_invariant=False)),
    "polygon": (datasets.polygon, dict(n=4, radii=(1.0,), label=0.6)),
    "NetworkPotential": (potentials.NetworkPotential, dict(network=NET, data=X, y=LABELS, sample_weight=np.ones(4), class_weight=[1.0, 2.0])),
    "Radial": (potentials.Radial, dict(n_params=3)),
    "Harmonic": (potentials.Harmonic, dict(A=np.eye(2))),
    "potentials.Compiled": (potentials.Compiled, dict(value=square_length, gradient=double, n_params=2)),
    "Callable": (potentials.Callable, dict(value_and_gradient=flat, n_params=2)),
    "CommitteeMachine": (potentials.CommitteeMachine, dict(teacher=np.eye(2), width=2, activation="relu", teacher_readout=[1.0, 2.0], trained_readout=False)),
    "DiagonalLinear": (potentials.DiagonalLinear, dict(X=np.ones((3, 2)), y=np.ones(3))),
    "LogSumExp": (potentials.LogSumExp, dict(A=np.eye(2))),
    "MatrixCompletion": (potentials.MatrixCompletion, dict(target=np.eye(2), mask=np.ones((2, 2), bool), hidden=2)),
    "MatrixFactorization": (potentials.MatrixFactorization, dict(target=np.eye(2), hidden=2)),
    "MatrixSensing": (potentials.MatrixSensing, dict(A=np.ones((3, 2, 2)), y=np.ones(3), hidden=2)),
    "PhaseRetrieval": (potentials.PhaseRetrieval, dict(A=np.eye(3), y=np.ones(3))),
    "TensorDecomposition": (potentials.TensorDecomposition, dict(target=np.ones((2, 2, 2)), rank=2)),
    "Potential.value": (U.value, dict(x=THETA)),
    "Potential.gradient": (U.gradient, dict(x=THETA)),
    "Callable.value_and_gradient": (potentials.Callable(flat, 2).value_and_gradient, dict(x=POINT)),
    "plot.loss": (plot.loss, dict(trajectory=RUN, ax=None)),
    "plot.energy": (plot.energy, dict(trajectory=RUN, ax=None)),
    "plot.law": (plot.law, dict(trajectory=LAWFUL, name="scaling:1", what="residual", ax=None)),
    "plot.residuals": (plot.residuals, dict(trajectory=RUN, ax=None)),
    "plot.bounds": (plot.bounds, dict(trajectory=LAWFUL, name="scaling:1", dynamics=nl.ND, ax=None)),
    "plot.check": (plot.check, dict(report=nl.check(RADIAL, RUN.params, RUN.t, nl.GD(0.1)), ax=None)),
    "plot.drift": (plot.drift, dict(report=nl.drift(U, nl.GD(0.1), THETA, 2, backend="reference"), name="scaling:1", component=0, ax=None)),
    "plot.singular_values": (plot.singular_values, dict(discovery=nl.discover(RADIAL), ax=None)),
    "plot.closure": (plot.closure, dict(count=nl.count_laws(MSE), ax=None)),
    "plot.sweep": (plot.sweep, dict(members=nl.sweep(square, {"lr": [0.1]}), x="lr", y="lr squared", ax=None)),
    "infinite_width": (ntk.infinite_width, dict(net=MSE, X1=X, X2=X, scheme="ntk", bias_std=0.0, parametrization="ntk")),
    "kernel": (ntk.kernel, dict(net=NET, theta=THETA, X1=X, X2=X)),
    "ntk.predict": (ntk.predict, dict(kernel=np.eye(2), u0=np.ones((2, 1)), t=[1.0], dynamics=nl.GF, n_samples=2)),
    "predict_parameters": (ntk.predict_parameters, dict(net=MSE, theta=MSE.init(rng=0), X=X, y=np.ones((4, 1)), t=[1.0], dynamics=nl.GF)),
    "width_study": (ntk.width_study, dict(data=None, widths=(2, 3), n_seeds=2, hidden_layers=1, activation="relu", lr=0.1, steps=1, rng=0, progress=False)),
    "figures.figure1": (figures.figure1, dict(n_samples=512, steps=10, lr=0.1, rng=0, progress=False)),
    "figures.figure2": (figures.figure2, dict(n_samples=512, steps=10, lr=0.1, rng=0, progress=False)),
    "ntk_widths": (figures.ntk_widths, dict(study=STUDY)),
    "figures.batch_size": (figures.batch_size, dict(seeds=2)),
    "figures.figure3": (figures.figure3, {}),
    "figures.figure4": (figures.figure4, {}),
    "figures.figure5": (figures.figure5, {}),
    "figures.figure6": (figures.figure6, {}),
    "figures.discretisation": (figures.discretisation, {}),
    "figures.save": (figures.save, dict(number=3, folder=FOLDER)),
    "assert_symmetric": (testing.assert_symmetric, dict(params=TREE, grads=GRADIENT, laws=LAWS, precision=None, summands=None)),
    "assert_gradient": (testing.assert_gradient, dict(U=RADIAL, gradient=RADIAL.gradient, x=POINT, rng=0, precision=None)),
    "assert_law_holds": (testing.assert_law_holds, dict(U=RADIAL, params=RUN.params, t=RUN.t, dynamics=nl.GD(0.1), laws="all", motion=False)),
    "two_layer_linear": (exact.two_layer_linear, dict(W1=np.eye(2), W2=np.eye(2), Sigma=np.eye(2), t=[0.0, 1.0])),
    "decoupled_modes": (exact.decoupled_modes, dict(singular_values=[2.0, 1.0], start=0.1, t=[0.0, 1.0], depth=2)),
    "function_space_velocity": (exact.function_space_velocity, dict(z=np.ones((1, 1, 2)), charge=[1.0], force=np.ones((1, 1, 2)))),
    "modified_field": (exact.modified_field, dict(U=RADIAL, x=POINT, lr=0.1, order=1)),
    "modified_gradient": (exact.modified_gradient, dict(U=RADIAL, x=POINT, lr=0.1, order=1)),
    "sharpness_of_flow": (exact.sharpness_of_flow, dict(w=[1.0, 0.5], s=1.0)),
    "modified_flow": (exact.modified_flow, dict(U=RADIAL, x0=POINT, lr=0.1, t=[0.0, 1.0], order=1, rtol=1e-6, max_evaluations=1000)),
    "neuron_products": (exact.neuron_products, dict(U=NET.potential(X, LABELS), x=THETA)),
    "relu_function_flow": (exact.relu_function_flow, dict(U=SCALAR, x0=[0.5, 0.1, 1.0], t=[0.0, 0.1], rtol=1e-6, atol=1e-6, max_evaluations=1000)),
    "scalar_network": (exact.scalar_network, dict(weights=[1.0, 0.5], target=1.0)),
    "scale_invariant_norm": (exact.scale_invariant_norm, dict(lr=0.1, weight_decay=0.1, gradient_square=1.0)),
    "lagrangian.momentum": (lagrangian.momentum, dict(L=kinetic, t=0.0, x=POINT, v=POINT)),
    "lagrangian.hamiltonian": (lagrangian.hamiltonian, dict(L=kinetic, t=0.0, x=POINT, v=POINT)),
    "lagrangian.rund_trautmann": (lagrangian.rund_trautmann, dict(L=kinetic, generator=still, t=0.0, x=POINT, v=POINT)),
    "lagrangian.noether_charge": (lagrangian.noether_charge, dict(L=kinetic, generator=still, t=0.0, x=POINT, v=POINT)),
    "generator_of": (lagrangian.generator_of, dict(group=moved)),
    "group_from_generator": (lagrangian.group_from_generator, dict(A=ROTATION, strength=0.1)),
    "generator_from_group": (lagrangian.generator_from_group, dict(M=np.eye(2))),
    "lagrangian.action": (lagrangian.action, dict(L=kinetic, t=[0.0, 1.0], path=[POINT, POINT])),
    "lagrangian.action_gradient": (lagrangian.action_gradient, dict(L=kinetic, t=[0.0, 1.0, 2.0], path=[POINT, POINT, POINT])),
    "from_torch": (convert.from_torch, dict(network=NET, state_dict=convert.to_torch(NET, THETA), order=None, like=None)),
    "to_torch": (convert.to_torch, dict(network=NET, theta=THETA, order=None)),
    "from_flax": (convert.from_flax, dict(network=NET, tree=convert.to_flax(NET, THETA), order=None, like=None)),
    "to_flax": (convert.to_flax, dict(network=NET, theta=THETA, order=None)),
    "from_equinox": (convert.from_equinox, dict(network=NET, layers=convert.to_equinox(NET, THETA), like=None)),
    "to_equinox": (convert.to_equinox, dict(network=NET, theta=THETA)),
    "from_keras": (convert.from_keras, dict(network=NET, weights=convert.to_keras(NET, THETA), like=None)),
    "to_keras": (convert.to_keras, dict(network=NET, theta=THETA)),
    "bounds.charge": (bounds.charge_bound, dict(U0=1.0, t=[1.0], alpha=0.0)),
    "bounds.quantity": (bounds.quantity_bound, dict(U0=1.0, t=[1.0], alpha=0.0)),
    "mean_speed_bound": (bounds.mean_speed_bound, dict(U0=1.0, n_params=2, mass=1.0)),
    "Averaging": (tensors.Averaging, dict(beta=0.9, weight=None, decay=0.0)),
    "Anchor": (tensors.Anchor, dict(weight="W3", bias="b3", reduction="mean", ignored=-100)),
    "audit": (tensors.audit, dict(params=TREE, laws=LAWS, state=None, following=None, averaging=0.9, precision=None)),
    "dump": (tensors.dump, dict(laws=LAWS, path=FOLDER / "laws.json")),
    "tensors.load": (tensors.load, dict(path=FOLDER / "laws.json")),
    "tensors.read": (tensors.read, dict(path=FOLDER / "weights.npz")),
    "arch.Block": (arch.Block, {}),
    "arch.Chain": (arch.Chain, {}),
    "arch.Residual": (arch.Residual, {}),
    "arch.Model": (arch.Model, dict(loss="any")),
    "arch.Model.on_symmetric_data": (SMALL.on_symmetric_data, dict(matrix=[[0.0, 1.0], [1.0, 0.0]])),
    "arch.Model.init": (SMALL.init, dict(rng=0)),
    "arch.Model.predict": (SMALL.predict, dict(params=SMALL.init(0), X=X)),
    "arch.Model.gradient": (SMALL.gradient, dict(params=SMALL.init(0), X=X, y=X)),
    "arch.Activation": (arch.Activation, dict(name="gelu")),
    "arch.Attention": (arch.Attention, dict(d=3, heads=2, head_width=2, kv_heads=1, outputs=2, bias=False, causal=False, rope=False, qk_norm=False, eps=0.0)),
    "arch.BatchNorm": (arch.BatchNorm, dict(d=3, eps=0.0)),
    "arch.LayerNorm": (arch.LayerNorm, dict(d=3, eps=0.0)),
    "arch.RMSNorm": (arch.RMSNorm, dict(d=3, eps=0.0, gain=True)),
    "arch.Convolution": (arch.Convolution, dict(inputs=1, outputs=2, kernel=2, dimensions=1, bias=False)),
    "arch.Dense": (arch.Dense, dict(inputs=2, outputs=3, bias=False, tied="")),
    "arch.Embedding": (arch.Embedding, dict(inputs=2, d=3, positions_learned=0, tokens=False)),
    "arch.Experts": (arch.Experts, dict(d=2, hidden=2, experts=2, gate="softmax")),
    "arch.LowRank": (arch.LowRank, dict(inputs=2, outputs=3, rank=1)),
    "arch.SwiGLU": (arch.SwiGLU, dict(d=2, hidden=3)),
    "arch.MLP": (arch.MLP, dict(widths=[2, 3, 2], activation="relu", gate=None, bias=False)),
    "arch.Conv1d": (arch.Conv1d, dict(channels=[1, 2, 1], kernels=[2, 2], activation="relu")),
    "arch.Transformer": (arch.Transformer, dict(d=3, heads=2, head_width=2, layers=1, mlp="gelu", mlp_width=2, norm="layer", eps=0.0, bias=True, embed=3, vocab=3, loss="nll", kv_heads=1, rope=False, qk_norm=False, causal=False, final_norm=True, residual=True, tied=False, positions_learned=0, tokens=False)),
}  # fmt: skip
for function, arguments in CALLS.values():  # what all algorithms take
    if isinstance(function, type) and issubclass(function, nl.Algorithm):
        arguments |= {"grad_accumulation": 1, "sam": 0.0}
# They train, and solve a stiff equation at large rates.
SLOW = {name for name in CALLS if name.startswith("figures.")} | {"modified_flow"}
