"""
Laws as text
============

What is conserved, as text and as LaTeX: the entries of GU's Tables 1 to 5, for a network of your own.
"""

import noetherlite as nl


def main() -> None:
    """Print the laws of a network with a linear and a swish layer under four dynamics."""
    net = nl.Network([3, 4, 5, 2], activation=["linear", "swish"], loss="nll")
    U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    for symmetry in nl.symmetries(U):
        print(symmetry.name)
        for dynamics in (nl.GF, nl.ND, nl.NAGF, nl.Dynamics(2.0, 0.1, 1.0)):
            law = nl.law(symmetry, dynamics)
            print(f"  {law.dynamics:8} {law.formula()}   [{law.source}]")
    print("\nLaTeX:", nl.law("rotation", nl.NAGF).formula("latex"))


if __name__ == "__main__":
    main()
