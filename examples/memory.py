"""
Memory of a run
===============

How much memory a run will hold, and what of it the records are.
"""

import noetherlite as nl


def main() -> None:
    """Print the bytes of a run of 100,000 steps for several ways to record it, and of an ensemble of such runs."""
    U = nl.Network([64, 64, 32, 10]).potential(nl.datasets.gaussian_classes(n=256, n_features=64, n_classes=10, rng=0))
    steps = 100_000
    for every in (1, 10, 1000):
        print(f"recorded every {every:4} steps: {nl.memory(U, steps, record_every=every) / 1e6:7.1f} MB")
    without = nl.memory(U, steps, record_every=1000, laws=None)
    print(f"without laws:              {without / 1e6:7.1f} MB")
    parameters = nl.memory(U, steps, record_every=10, record_params=True)
    recorded = 10_001 * U.n_params * 8
    print(f"with x every 10 steps:     {parameters / 1e6:7.1f} MB, {recorded / 1e6:.1f} MB of it x")
    many = nl.memory(U, steps, record_every=1000, networks=64)
    print(f"64 networks side by side:  {many / 1e6:7.1f} MB")


if __name__ == "__main__":
    main()
