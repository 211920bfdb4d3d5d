"""
A first law
===========

A law that holds to round-off, in ten lines.
"""

import numpy as np

import noetherlite as nl

net = nl.Network([784, 32, 16, 10], activation="relu", loss="nll")
U = net.potential(nl.datasets.glyphs(n=256, rng=0))
run = nl.integrate(U, nl.GD(0.05), net.init(rng=0), steps=500)

law = run.laws["scaling:1"]  # one column per neuron of layer 1
weights = net.unpack(run.x)["W1"]
print(f"loss {run.loss[0]:.3f} -> {run.loss[-1]:.3f}")
print(f"Q = (|w|^2 + b^2 - |u|^2)/2 moved by {np.abs(law.residual).max():.1e}: the step size's doing")
print(f"and is predicted to {np.abs(law.discrete_residual).max():.1e} by the exact law of gradient descent")
