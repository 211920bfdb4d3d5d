"""
A function over a grid
======================

A sweep over learning rates and starts, on two threads: how the drift of the laws grows with the step, and an ensemble split.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import noetherlite as nl


def train(lr, start, rng):
    """Train one network to a fixed time, by minibatches drawn from the seed of this member."""
    if start == 2 and lr == 0.02:
        raise ValueError("an error that stays with its own member")
    net = nl.Network([6, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=60, n_features=6, n_classes=3, rng=0))
    run = nl.integrate(U, nl.GD(lr), net.init(rng=start), steps=round(5 / lr), batch_size=20, rng=rng)
    law = run.laws["scaling:1"]
    return {"loss": run.loss[-1], "drift": law.largest("residual"), "exact": law.largest("discrete_residual")}


def part(start, stop, rng):
    """Return runs start … stop − 1 of an ensemble of twelve, whose minibatches are those that they have in the whole."""
    net = nl.Network([6, 16, 3])
    U = net.potential(nl.datasets.gaussian_classes(n=60, n_features=6, n_classes=3, rng=0))
    X0 = np.stack([net.init(rng=e) for e in range(start, stop)])
    seeds = np.random.SeedSequence(1, n_children_spawned=start)
    return {"x": nl.ensemble(U, nl.GD(0.05), X0, 200, batch_size=20, rng=seeds).x}


def main() -> None:
    """Run the sweep in two calls, the second of which finds the first one's results, and put the ensemble together."""
    grid = {"lr": [0.005, 0.01, 0.02, 0.04], "start": [0, 1, 2]}
    # or any other executor; executor=2 starts two processes, which must be able to import `train`
    pool = ThreadPoolExecutor(2)
    with tempfile.TemporaryDirectory() as folder:
        nl.sweep(train, grid, pool, out=folder)
        runs = nl.sweep(train, grid, out=folder)  # computes again what failed, and nothing else
    print(runs.summary())

    lr, drift = runs.column("lr"), runs.column("drift")
    known = np.isfinite(drift)
    order = np.polyfit(np.log(lr[known]), np.log(drift[known]), 1)[0]
    print(f"drift of the quantity of scaling:1 grows like lr^{order:.2f} at equal times; the theory says lr")

    parts = nl.sweep(part, [{"start": e, "stop": e + 4} for e in (0, 4, 8)], pool).results
    whole = part(0, 12, None)["x"]
    print(
        "the ensemble in three parts is the whole, bit for bit:",
        np.array_equal(np.concatenate([p["x"] for p in parts]), whole),
    )


if __name__ == "__main__":
    main()
