"""
Laws that are not affine
========================

On orthogonal samples gradient flow conserves Q = ½\\|u\\|² − Σ H(z) / \\|x\\|² for every neuron of the first layer, H = ½ sinh²z for tanh [1]_: a law that no
scaling gives. Gradient descent keeps the exact ⟨g(x), Δ⟩ = 0 of each step to round-off; Q drifts by an amount of order η, and of order η² once the bend of
the field is taken away. On samples that are not orthogonal the same Q is no law at all.

.. [1] B. Zhao, I. Ganev, R. Walters, R. Yu, N. Dehmamy, "Symmetries, flat minima, and the conserved quantities of gradient flow", ICLR 2023.
"""

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

RATES = (0.04, 0.02, 0.01, 0.005)


def main() -> None:
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.normal(size=(5, 5)))[0][:4] * [[0.7], [1.0], [1.3], [1.6]]
    net = nl.Network([5, 3, 2], "tanh", bias=False, loss="mse")
    U = net.potential(X, rng.normal(size=(4, 2)))
    (law,) = nl.invariants(U)
    start = net.init(rng=0)
    drift, rest = [], []
    for lr in RATES:
        run = nl.integrate(U, nl.GD(lr), start, round(4 / lr), record_params=True)
        record = law.record(U, run.params)
        drift.append(np.abs(record.residual[-1]).max())
        rest.append(np.abs(record.second_order[-1]).max())
        print(
            f"η = {lr:5}: Q drifts by {drift[-1]:.1e}, {rest[-1]:.1e} without the bend, exact law {np.abs(record.exact).max():.0e}"
        )
    crowded = net.potential(X + 0.3, U.y)
    lost = nl.integrate(crowded, nl.GD(RATES[-1]), start, round(4 / RATES[-1]), observe={"Q": law.quantity}).observed[
        "Q"
    ]
    print(f"samples that are not orthogonal: Q moves by {np.abs(lost[-1] - lost[0]).max():.1e} at η = {RATES[-1]}")
    figure, ax = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for values, power, label, colour in (
        (drift, 1, "drift of Q", "#0072b2"),
        (rest, 2, "without the bend of g", "#d55e00"),
    ):
        slope = np.polyfit(np.log(RATES), np.log(values), 1)[0]
        ax.loglog(RATES, values, "o-", color=colour, label=f"{label}: exponent {slope:.2f}")
        ax.loglog(RATES, values[-1] * (np.array(RATES) / RATES[-1]) ** power, color=colour, ls=":", lw=1)
    ax.set(xlabel="learning rate η", ylabel="largest change at t = 4")
    ax.set_xticks(RATES, [str(lr) for lr in RATES])
    ax.set_xticks([], minor=True)
    ax.legend()
    figure.savefig("beyond_affine.png", dpi=150)


if __name__ == "__main__":
    main()
