"""Sharpness-aware minimisation: any optimiser whose gradients are taken at x, with gradients uphill of it."""

from __future__ import annotations

import dataclasses

import numpy as np

from .._base import checks
from .base import Algorithm
from .gradient_descent import GD


def SAM(base: Algorithm | float, rho: float = 0.05) -> Algorithm:
    """Return an algorithm whose gradients are those of sharpness-aware minimisation (Foret et al. 2021).

    ∇U(y_k) takes the place of ∇U(x_k), y_k = x_k + ρ∇U(x_k)/|∇U(x_k)|, of the same minibatch; weight decay stays λx_k.

    Parameters
    ----------
    base : Algorithm or float
        `GD`, `HeavyBall`, `Nesterov`, `Adam`, `RMSProp`, `AdaGrad`, `Lion`, `Muon` or `SignGD`; a number η is `GD(η)`.
    rho : float
        ρ > 0.

    Returns
    -------
    Algorithm
        `base` with `sam` ρ, which configurations give beside its other settings.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    Notes
    -----
    The gradient is orthogonal to g at y_k, so that ⟨g(x_k), ∇U(y_k)⟩ = −⟨Gδ_k, ∇U(y_k)⟩ with δ_k = y_k − x_k takes the place of 0 in
    all exact laws: for gradient descent Q_{k+1} − Q_k = η⟨Gδ_k, ∇U(y_k)⟩ + ½η²⟨∇U(y_k), G∇U(y_k)⟩. Translations, whose G is 0,
    keep their laws as they are. With rates by block the ascent is along ∇U of all blocks, whatever their rates; with `grad_accumulation` it is
    along the mean of the minibatches, whose gradients are taken at the same y: that of the larger minibatch. `optax.contrib.sam` with a normalised gradient is the same; clipping comes after the ascent.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 2])
    >>> U = net.potential(nl.datasets.gaussian_classes(n=9, n_features=2, n_classes=2, rng=0))
    >>> run = nl.integrate(U, nl.SAM(nl.GD(0.1), rho=0.1), net.init(rng=0), 100)
    >>> run.n_gradients, run.laws["scaling:1"].verdict
    (202, 'holds')
    """
    rho = checks.real(rho, "rho", minimum=0.0, strict=True)
    if isinstance(base, Algorithm):
        return dataclasses.replace(base, sam=rho)
    if not isinstance(base, int | float | np.number) or isinstance(base, bool):
        raise TypeError(f"base must be an Algorithm such as nl.GD(0.1), or a rate, got {checks.describe(base)}")
    return dataclasses.replace(GD(checks.real(base, "base", minimum=0.0, strict=True)), sam=rho)
