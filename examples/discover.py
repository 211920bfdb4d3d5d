"""
Discover symmetries
===================

Which affine symmetries has a potential? All of them, found from gradients alone, and what the catalogue makes of them.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 2)), rng.standard_normal((20, 2))
    problems = {
        "relu": nl.Network([2, 3, 2], "relu", loss="mse").potential(X, y),
        "relu, softmax": nl.Network([2, 3, 2], "relu").potential(X, (y[:, 0] > 0).astype(int)),
        "linear with biases": nl.Network([2, 3, 2], "linear", loss="mse").potential(X, y),
        "z^2 on icosahedron": nl.Network([3, 2, 1], "polynomial(2)", loss="mse").potential(nl.datasets.icosahedron()),
        "relu, one sample": nl.Network([2, 3, 2], "relu", loss="mse").potential(X[:1], y[:1]),
        "tanh": nl.Network([2, 3, 2], "tanh", loss="mse").potential(X, y),
    }
    discoveries = {title: nl.discover(U) for title, U in problems.items()}
    for title, discovery in discoveries.items():
        print(f"--- {title}\n{discovery}\n")

    net, new = problems["linear with biases"].network, discoveries["linear with biases"].new[0]
    print("The first new symmetry of the linear network moves, at a random point,")
    theta = net.init(rng=1, bias_std=1.0)
    for name, part in net.unpack(new @ np.append(theta, 1.0)).items():
        print(f"  {name} by {np.array2string(part.ravel(), precision=3, suppress_small=True)}")
    print("that is b1 by a vector v and b2 by -W2 v, which no output can tell.")

    nl.plot.singular_values(discoveries["linear with biases"]).figure.savefig("discover.png", dpi=150)
    print("\nsingular values of the linear network: discover.png")


if __name__ == "__main__":
    main()
