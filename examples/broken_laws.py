"""
Broken laws
===========

How SGD breaks the laws of gradient flow: what a drift is made of, what theory predicts, and how it falls with the step.
"""

import numpy as np
from matplotlib.figure import Figure

import noetherlite as nl


def main() -> None:
    net = nl.Network([3, 8, 3], "relu")
    U = net.potential(nl.datasets.gaussian_classes(n=64, n_features=3, n_classes=3, rng=0))
    algorithm = nl.HeavyBall(lr=0.002, momentum=0.9, weight_decay=0.01)
    run = nl.drift(U, algorithm, net.init(rng=0), steps=2000, record_every=10, batch_size=8, rng=0)
    law = run["scaling:1"]
    print(run)
    print(f"{law.damping}; |Q - Q0| over the neurons of layer 1 at the end, and its parts:")
    for name, part in {"all": law.change, **law.parts}.items():
        print(f"  {name:8} {np.linalg.norm(part[-1]):.4f}")
    rest = np.abs(law.change - sum(law.parts.values())).max()
    error = np.abs(law.second_order - law.quantity).max()
    print(f"the parts miss the whole by {rest:.0e}, the continuous-time formula by {error:.0e}")

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    run.plot("scaling:1", 0, figure.subplots())
    figure.savefig("drift.png", dpi=150)
    for name, draw in {"discretisation": nl.figures.discretisation, "batch_size": nl.figures.batch_size}.items():
        figure, numbers = draw()
        figure.savefig(f"{name}.png", dpi=150)
        print(f"drawn in {name}.png")
        if name == "discretisation":
            for kind, row in numbers.items():
                print(f"  {kind:17} residual of scaling:1 ~ lr^{row['slope']['scaling:1']:.2f}")


if __name__ == "__main__":
    main()
