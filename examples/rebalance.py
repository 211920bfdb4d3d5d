"""
Move along an orbit
===================

Start training elsewhere on the orbit: the same function, other charges, another speed of learning.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    data = nl.datasets.gaussian_classes(n=120, n_features=4, rng=0)
    net = nl.Network([4, 16, 16, 3], "relu")
    U = net.potential(data)
    theta = net.init(rng=0, scheme="he")
    starts = {
        "as drawn": theta,
        "balanced, Q = 0": nl.rebalance(net, theta, {"scaling:1": 0.0, "scaling:2": 0.0}),
        "Q = 3 in layer 1": nl.rebalance(net, theta, {"scaling:1": 3.0, "scaling:2": 0.0}),
        "Q = -3 in layer 1": nl.rebalance(net, theta, {"scaling:1": -3.0, "scaling:2": 0.0}),
    }
    outputs = net.predict(theta, data.X)
    print(
        f"{'start':18} {'mean Q_1':>9} {'|theta|':>8} {'change of f':>12} {'loss at 0':>10} {'at t = 4':>9} {'mean Q_1':>9}"
    )
    for title, x in starts.items():
        change = np.abs(net.predict(x, data.X) - outputs).max()
        run = nl.integrate(U, nl.GD(0.02), x, 200, laws=["scaling:1"], record_every=200)
        before, after = run.laws["scaling:1"].quantity.mean(axis=1)
        size = np.linalg.norm(x)
        print(
            f"{title:18} {before:9.3f} {size:8.3f} {change:12.0e} {run.loss[0]:10.4f} {run.loss[-1]:9.4f} {after:9.3f}"
        )


if __name__ == "__main__":
    main()
