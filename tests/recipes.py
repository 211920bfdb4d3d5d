"""Training loops in plain NumPy as other frameworks run them, for recordings that are right or wrong in known ways."""

import numpy as np


def loop(
    U, x, lr, steps, *, momentum=0.0, dampening=0.0, nesterov=False, decay=0.0, batches=None, gradient=None, change=None
):
    """Return the rows (steps + 1, P) of PyTorch's SGD; `change` is g, k ↦ what is done to the gradient of step k."""
    rows, memory = [np.array(x)], None
    for k in range(steps):
        V = U if batches is None else U.network.potential(U.X[batches[k]], U.y[batches[k]])
        g = (gradient or V.gradient)(rows[-1]) + decay * rows[-1]
        if change is not None:
            g = change(g, k)
        if momentum:
            memory = g if memory is None else momentum * memory + (1 - dampening) * g
            g = g + momentum * memory if nesterov else memory
        rows.append(rows[-1] - lr * g)
    return np.array(rows)


def adam(U, x, lr, steps):
    """Return the rows of Adam with its usual constants."""
    rows, m, v = [np.array(x)], np.zeros_like(x), np.zeros_like(x)
    for k in range(1, steps + 1):
        g = U.gradient(rows[-1])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rows.append(rows[-1] - lr * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8))
    return np.array(rows)
