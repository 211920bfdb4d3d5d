"""Parametrisations: how initial weights and learning rates scale with the widths, and what wide networks tend to with each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._base import checks
from .._base.types import Float64Array, Seed
from .network import Network

_LIMITS = {
    "standard": "the tangent kernel grows with the width n, so that lr has to fall like 1/n; with one hidden layer the share of W_1 in it falls like "
    "1/n, and the network tends to random features, of which the last layer alone is trained (nl.ntk.infinite_width)",
    "ntk": "the tangent kernel of Jacot et al. 2018, to which all layers contribute, constant during training "
    "(nl.ntk.infinite_width with parametrization='ntk'); features move by 1/√n",
    "mean_field": "no constant kernel: f is a mean over neurons, whose distribution moves by Wasserstein gradient flow "
    "(Mei et al. 2018, Chizat & Bach 2018); f vanishes at the start like 1/√n, and features move at any width",
    "mup": "no constant kernel: features of every layer move at any width as much as they can (Yang & Hu 2021); f vanishes at the start like 1/√n",
}


class Setup(NamedTuple):
    """A start and learning rates of a parametrisation.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        Initial parameters.
    lr : dict of str to float
        The learning rate of each block, for `nl.GD(lr=...)`.
    limit : str
        The kernel that wide networks tend to, or why there is none.
    """

    theta: Float64Array
    lr: dict[str, float]
    limit: str


def parametrization(
    network: Network, kind: str, lr: float = 1.0, rng: Seed = None, scheme: str = "lecun", bias_std: float = 0.0
) -> Setup:
    """Return a start and learning rates under which wide networks behave alike.

    A factor c in front of weights, f(cW), trained with the rate η, is the same as weights cW trained with c²η: so a parametrisation is a choice of
    initial variances and of a rate for each block.

    Parameters
    ----------
    network : Network
        The network.
    kind : {"standard", "ntk", "mean_field", "mup"}
        With fan-in m and fan-out n of a layer, and variances of `scheme`:
        "standard": the rate lr for all;
        "ntk": lr/m for weights and lr for biases, as with factors 1/√m (Jacot et al. 2018);
        "mean_field": one hidden layer, f = (1/m) Σ a_i σ(w_i x + b_i) with the rate lr m for a, w and b: the variance of the last layer divided by m,
        rates lr n for layer 1 and lr/m for the last;
        "mup": Table 3 of Tensor Programs V for SGD: the same for any depth, lr for layers between hidden ones, lr n for hidden biases.
    lr : float
        η > 0, which does not have to change with the width but for "standard".
    rng, scheme, bias_std
        As for `Network.init`.

    Returns
    -------
    Setup
        `theta`, `lr` by block, and `limit`, which says what kernel wide networks tend to.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; "mean_field" with other than one hidden layer.

    References
    ----------
    .. [1] G. Yang et al., "Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer", 2022.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([8, 100, 2], "tanh")
    >>> nl.parametrization(net, "mup", lr=0.1, rng=0).lr
    {'W1': 10.0, 'b1': 10.0, 'W2': 0.001, 'b2': 0.1}
    """
    checks.instance(network, "network", Network, "a Network")
    kind = checks.one_of(kind, "kind", _LIMITS)
    lr = checks.real(lr, "lr", minimum=0.0, strict=True)
    if kind == "mean_field" and network.n_layers != 2:
        raise ValueError(f"kind='mean_field' needs one hidden layer, got {network!r}; 'mup' takes any depth")
    theta = network.init(rng, scheme=scheme, bias_std=bias_std)
    factors: Callable[[Network, str, int], float] = {"standard": _one, "ntk": _ntk}.get(kind, _mup)
    if kind in ("mean_field", "mup"):
        network.unpack(theta)[f"W{network.n_layers}"][:] /= network.widths[-2] ** 0.5
    rates = {}
    for block in network.blocks:
        name = block.name.rstrip("0123456789")
        rates[block.name] = lr * factors(network, name, int(block.name[len(name) :]))
    return Setup(theta, rates, _LIMITS[kind])


def _one(network: Network, name: str, h: int) -> float:
    return 1.0


def _ntk(network: Network, name: str, h: int) -> float:
    return 1.0 / network.widths[h - 1] if name == "W" else 1.0


def _mup(network: Network, name: str, h: int) -> float:
    if h == network.n_layers:
        return 1.0 / network.widths[h - 1] if name == "W" and h > 1 else 1.0
    return 1.0 if name == "W" and h > 1 else float(network.widths[h])
