"""
Symmetries and their laws
=========================

What is conserved, and why: the symmetries of a few problems, how well they hold, and the laws they give.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    classes = nl.datasets.gaussian_classes(n=60, n_features=3, rng=0)
    problems = {
        "relu, softmax": nl.Network([3, 8, 3], "relu").potential(classes),
        "linear, softmax": nl.Network([3, 4, 3], "linear").potential(classes),
        "swish, then tanh": nl.Network([3, 4, 4, 3], ["swish", "tanh"]).potential(classes),
        "z^2 on icosahedron": nl.Network([3, 2, 1], "polynomial(2)", loss="mse").potential(nl.datasets.icosahedron()),
    }
    print(f"{'problem':20} {'symmetry':14} {'generators':>10} {'defect':>8}  law under Nesterov's flow")
    for title, U in problems.items():
        for s in nl.symmetries(U):
            print(f"{title:20} {s.name:14} {s.n_generators:10} {nl.symmetry_defect(U, s):8.0e}  {nl.law(s, nl.NAGF)}")
            title = ""

    print("\nA user-defined symmetry: rotations in the plane of a central force, along leapfrog with 10000 steps")
    turn = nl.Symmetry([[0, -1], [1, 0]], name="turn")
    run = nl.integrate(
        nl.potentials.Radial(2),
        nl.Leapfrog(1e-2),
        [1.0, 0.5],
        10_000,
        velocity=[0.0, 1.0],
        laws=[turn],
        record_every=100,
    )
    drift = np.abs(run.laws["turn"].residual).max()
    print(f"{nl.law(turn, nl.ND)}: angular momentum {run.laws['turn'].charge[0, 0]:.3f}, moved by {drift:.0e}")
    try:
        nl.integrate(problems["relu, softmax"], nl.GD(0.1), np.ones(59), 1, laws=["rotation"])
    except ValueError as error:
        print(f"\nWhat does not hold is refused:\n{error}")


if __name__ == "__main__":
    main()
