"""
A long run that survives
========================

Stopped half-way, it goes on from its checkpoint and ends with the same bits.
"""

from pathlib import Path

import numpy as np

import noetherlite as nl


def main() -> None:
    net = nl.Network([784, 32, 10], "relu")
    U = net.potential(nl.datasets.glyphs(n=256, rng=0))
    # Whether inputs are reduced depends on the records that a callback sees; the same for both makes the same bits.
    run = {"steps": 400, "record_every": 20, "batch_size": 32, "rng": 0, "input_reduction": False}
    whole = nl.integrate(U, nl.NAGD(1e-3), net.init(rng=0), **run)

    path = Path("run.ckpt.npz")
    half = nl.integrate(
        U, nl.NAGD(1e-3), net.init(rng=0), **run, checkpoint=path, checkpoint_every=50, callback=lambda s: s.step >= 200
    )
    print(half.message)
    rest = nl.resume(path)  # the network, the data, the algorithm and the minibatches' stream are in the file
    print(rest.message)
    print("same parameters:", np.array_equal(rest.x, whole.x))
    print("same laws:", np.array_equal(rest.laws["scaling:1"].residual, whole.laws["scaling:1"].residual))


if __name__ == "__main__":
    main()
