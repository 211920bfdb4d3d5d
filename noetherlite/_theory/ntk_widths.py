"""Deviation of training from that of the linearised network, against the width of the hidden layers (theory §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._base import checks
from .._base.interrupt import as_a_whole
from .._base.progress import bar as progress_bar
from .._base.types import Float64Array, IntArray, Seed
from .._motion.base import Algorithm
from .._motion.gradient_descent import GD
from .._motion.leapfrog import Leapfrog
from .._motion.nesterov import NAGD
from .._problem import drawn
from .._problem.dataset import Dataset
from .._problem.network import Network
from .._problem.potentials import Harmonic, Potential
from .._run.integrate import integrate
from .ntk_kernel import kernel
from .ntk_limit import infinite_width

_ALGORITHMS = (GD, Leapfrog, NAGD)
_SCHEME = "ntk"  # pre-activations have the variance |x|²/n_0, whatever depth and activation


@dataclass(frozen=True, eq=False)
class WidthStudy:
    """The measurements of `width_study`: W widths, S seeds each, and three dynamics in the order of `dynamics`.

    Attributes
    ----------
    widths : ndarray, shape (W,)
        n.
    movement : ndarray, shape (3, W, S)
        |x(t) − x(0)| of the parameters.
    drift : ndarray, shape (3, W, S)
        |K(t) − K(0)|/|K(0)| of the tangent kernel (Frobenius).
    gap : ndarray, shape (3, W, S)
        |f − f_lin|/|u(0)| on the training set, f_lin trained with the network's own kernel K(0).
    limit_gap : ndarray, shape (3, W, S)
        The same with the infinite-width kernel.
    distance : ndarray, shape (W, S)
        |K(0) − K_∞|/|K_∞|.
    dynamics : tuple of str
        ("GF", "ND", "NAGF").
    settings : dict
        The arguments, and the name of the data set.
    """

    widths: IntArray
    movement: Float64Array
    drift: Float64Array
    gap: Float64Array
    limit_gap: Float64Array
    distance: Float64Array
    dynamics: tuple[str, ...]
    settings: dict[str, Any]

    def exponent(self, values: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Fit values ∝ n^p.

        Parameters
        ----------
        values : ndarray, shape (..., W, S)
            One of the arrays above.

        Returns
        -------
        p, error : ndarray, shape (...)
            Least-squares slope of log values against log n, and its standard error: S independent slopes, one for each
            seed, give the mean and the error of the mean. NaN where a value is not positive.

        Raises
        ------
        TypeError, ValueError
            If `values` does not hold real numbers, or has another shape.
        """
        array = checks.numbers(values, "values")
        if array.shape[-2:-1] != self.widths.shape:
            raise ValueError(f"values must have shape (..., {len(self.widths)}, S), got {array.shape}")
        x = np.log(self.widths)
        x = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = np.moveaxis(np.log(array), -2, -1) @ x
        return slopes.mean(axis=-1), slopes.std(axis=-1, ddof=1) / np.sqrt(slopes.shape[-1])


@as_a_whole()
def width_study(
    data: Dataset | None = None,
    widths: Sequence[int] = (64, 128, 256, 512, 1024, 2048, 4096),
    *,
    n_seeds: int = 10,
    hidden_layers: int = 2,
    activation: str = "relu",
    lr: float = 0.1,
    steps: int = 40,
    rng: Seed = 0,
    progress: bool = False,
) -> WidthStudy:
    """Train networks of growing width by GD, leapfrog and NAGD, and compare them with their linearisations.

    Parameters
    ----------
    data : Dataset, optional
        Inputs X (N, n_0) and targets y (N, n_L); by default 24 points of two Gaussian classes in 8 dimensions, y = ±1.
    widths : sequence of int
        Increasing widths of the hidden layers, at least two.
    n_seeds : int
        Initial parameters per width, at least 2, all independent; drawn by ``net.init(scheme="ntk")``.
    hidden_layers : int
        Their number, at least 1.
    activation : str
        One that has an `infinite_width` kernel, such as relu, linear, tanh, erf or gelu.
    lr : float
        Learning rate in units of 1/λ, 0 < lr ≤ 1, λ the largest eigenvalue of K_∞/N.
    steps : int
        Steps of each algorithm, at least 1.
    rng : int, SeedSequence or Generator
        Seeds the data and the initial parameters.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    WidthStudy

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.
    DivergenceError
        If a run diverges, which a smaller `lr` prevents.

    Notes
    -----
    Weights have variance ∝ 1/n, so K grows like n and time runs n (GF) or √n (ND, NAGF) times faster: runs of different
    widths are compared at the same λt, respectively √λ t. The residual of the linearised network obeys the algorithm's
    own recursion in the potential ½⟨u, Ku⟩/N, so that the gaps have no part that is due to the size of a step.

    Lee et al. 2019 [1]_ bound drift and gap by a multiple of n^{−1/2} (GF). That is the exponent of the distances from
    infinite width, because of the scatter of K(0). Drift and gap fall faster: for smooth activations such as tanh like 1/n as
    n grows [2]_ [3]_, for relu at these widths like n^{−0.6} to n^{−0.85}: a fraction n^{−1/2} of the activation patterns
    flips, with random signs, which makes n^{−3/4}.

    The defaults take some five minutes on one core and 1 GB, most of it for the largest width.

    References
    ----------
    .. [1] J. Lee et al., "Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient Descent", NeurIPS 2019.
    .. [2] E. Dyer and G. Gur-Ari, "Asymptotics of Wide Networks from Feynman Diagrams", ICLR 2020.
    .. [3] J. Huang and H.-T. Yau, "Dynamics of Deep Neural Networks and Neural Tangent Hierarchy", ICML 2020.

    Examples
    --------
    >>> import noetherlite as nl
    >>> study = nl.ntk.width_study(widths=(16, 32, 64), n_seeds=2)
    >>> p, error = study.exponent(study.movement)
    >>> bool((p < 0).all())
    True
    """
    generator = checks.generator(rng)
    if data is None:
        classes = drawn.gaussian_classes(24, n_features=8, n_classes=2, separation=1.0, rng=generator)
        data = Dataset(classes.X, 2.0 * classes.y[:, None] - 1.0, classes.name)
    if not isinstance(data, Dataset) or data.y.ndim != 2:
        raise TypeError(f"data must be a Dataset with targets of shape (N, n_L), got {checks.describe(data)}")
    items = checks.items(widths, "widths", "a sequence of integers")
    sizes = [checks.integer(n, f"widths[{i}]", minimum=1) for i, n in enumerate(items)]
    if len(sizes) < 2 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"widths must be two or more increasing integers, got {checks.describe(widths)}")
    n_seeds = checks.integer(n_seeds, "n_seeds", minimum=2)
    hidden = checks.integer(hidden_layers, "hidden_layers", minimum=1)
    lr = checks.real(lr, "lr", minimum=0.0, maximum=1.0, strict=True)
    steps = checks.integer(steps, "steps", minimum=1)
    progress = checks.boolean(progress, "progress")
    networks = [Network([data.X.shape[1], *[n] * hidden, data.y.shape[1]], activation, loss="mse") for n in sizes]
    seeds = generator.integers(2**63, size=(len(sizes), n_seeds))

    values, distance = np.empty((4, len(_ALGORITHMS), *seeds.shape)), np.empty(seeds.shape)
    with progress_bar(seeds.size, "network", shown=progress) as bar:
        for i, net in enumerate(networks):
            limit = infinite_width(net, data.X, scheme=_SCHEME)
            for k, seed in enumerate(seeds[i]):
                theta = net.init(int(seed), _SCHEME)
                values[:, :, i, k], distance[i, k] = _measure(net, data, theta, limit, lr, steps)
                bar.update()
    movement, drift, gap, limit_gap = values
    return WidthStudy(
        widths=np.array(sizes),
        movement=movement,
        drift=drift,
        gap=gap,
        limit_gap=limit_gap,
        distance=distance,
        dynamics=tuple(algorithm(lr).dynamics.name for algorithm in _ALGORITHMS),
        settings={
            "dataset": data.name,
            "n_samples": data.n_samples,
            "network": networks[-1].specification(),
            "n_seeds": n_seeds,
            "lr": lr,
            "steps": steps,
        },
    )


def _measure(
    net: Network, data: Dataset, theta: Float64Array, limit: Float64Array, lr: float, steps: int
) -> tuple[Float64Array, float]:
    """Return (movement, drift, gap, limit_gap) by algorithm, shape (4, 3), and the distance, of one network."""
    N, norm = data.n_samples, np.linalg.norm
    U, K0 = net.potential(data), kernel(net, theta, data.X)
    u0 = _residual(net, theta, data)
    rate = lr / float(np.linalg.eigvalsh(limit / N)[-1])
    columns = []
    for algorithm in (kind(rate) for kind in _ALGORITHMS):
        x = _train(U, algorithm, theta, steps)
        u = _residual(net, x, data)
        finite, infinite = (_train(Harmonic(K / N), algorithm, u0, steps) for K in (K0, limit))
        change = kernel(net, x, data.X) - K0
        columns.append(
            (norm(x - theta), norm(change) / norm(K0), norm(u - finite) / norm(u0), norm(u - infinite) / norm(u0))
        )
    return np.array(columns).T, float(norm(K0 - limit) / norm(limit))


def _residual(net: Network, x: Float64Array, data: Dataset) -> Float64Array:
    return np.asarray((net.predict(x, data.X) - data.y).ravel())


def _train(U: Potential, algorithm: Algorithm, start: Float64Array, steps: int) -> Float64Array:
    run = integrate(U, algorithm, start, steps, record_every=steps, laws=None, on_divergence="raise")
    return np.asarray(run.x, dtype=np.float64)
