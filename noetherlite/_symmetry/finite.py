"""Finite groups of orthogonal maps x ↦ Px with U(Px) = U(x): permutations and sign flips of neurons, symmetries of the data.

Such a map commutes with gradient descent and momentum: the run from Px_0 is P times the run from x_0. What P leaves where it is
therefore stays so: Fix(P) = {x : Px = x} is invariant. Permutations and sign flips commute with Adam too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from .._base import checks, html
from .._base.floating import norm, underflowing
from .._base.types import Array, ArrayLike, Float64Array, IntArray
from .._problem.network import Network, NetworkPotential
from .._problem.potentials import Potential, is_potential
from .automorphisms import automorphisms


class DiscreteSymmetry(ABC):
    """A finite group of orthogonal maps of the parameters that leave a potential as it is.

    Attributes
    ----------
    name : str
        "permutation:h", "sign:h" or "data".
    group : str
        The group as it is written, for example "S_5" or "Z_2^5".
    order : int
        Number of its elements.
    shape : tuple of int
        Shape of its generators, each of which is a map P: (n_h, n_h), (n_h,), or the number of generators.
    n_params : int
        P, the number of parameters.
    measured : bool
        Whether it rests on the data, compared to round-off; else it is a theorem about the network.
    """

    name: str
    group: str
    order: int
    shape: tuple[int, ...]
    n_params: int
    measured = False

    @abstractmethod
    def _map(self, x: Float64Array, index: tuple[int, ...]) -> Float64Array:
        """Return Px for the generator at `index` of `shape`."""

    def _period(self, index: tuple[int, ...]) -> int:
        """Return the least m > 0 with P^m = 1."""
        return 2

    @underflowing
    def apply(self, x: ArrayLike, *index: int) -> Float64Array:
        """Return Px for the generator at `index` of `shape`, for x of shape (P,)."""
        return self._map(self._point(x), self._index(index))

    @underflowing
    def nearest(self, x: ArrayLike, *index: int) -> Float64Array:
        """Return the point of Fix(P) = {x : Px = x} that is nearest to x: the mean of x, Px, P²x, …."""
        x, index = self._point(x), self._index(index)
        total, image = x.copy(), x
        for _ in range(self._period(index) - 1):
            image = self._map(image, index)
            total += image
        return np.asarray(total / self._period(index))

    @underflowing
    def distance(self, x: ArrayLike) -> Float64Array:
        """Return the distance of x to Fix(P) for every generator: an array of `shape`, 0 where P leaves x as it is.

        For "permutation:h" entry (i, j) is 1/√2 of the distance between the parameters of neurons i and j, for "sign:h" the
        length of what the flip negates.
        """
        return self._distance(self._point(x))

    def _distance(self, x: Float64Array) -> Float64Array:
        out = np.empty(self.shape)
        for index in np.ndindex(*self.shape):
            out[index] = norm(x - self.nearest(x, *index))
        return out

    def _point(self, x: ArrayLike) -> Float64Array:
        return checks.shaped(x, "x", (self.n_params,)).astype(np.float64)

    def _index(self, index: tuple[int, ...]) -> tuple[int, ...]:
        if len(index) != len(self.shape):
            raise ValueError(f"index={index} names no generator of {self.name!r}; expected one of shape {self.shape}")
        return tuple(
            checks.integer(i, f"index[{axis}]", minimum=0, maximum=n - 1)
            for axis, (i, n) in enumerate(zip(index, self.shape, strict=True))
        )

    def __repr__(self) -> str:
        return f"<{self.name}: {self.group}, order {self.order}>"

    def _repr_html_(self) -> str:
        return html.table(self.name, [(self.group, self.order, self.shape)], ("group", "order", "generators"))


class _OfNeurons(DiscreteSymmetry):
    """Acts on the parameters of the neurons of hidden layer h: rows of W_h, b_h, β_h, columns of W_{h+1}."""

    def __init__(self, network: Network, h: int) -> None:
        self.network, self.h, self.n_params = network, h, network.n_params
        self._n = network.widths[h]

    def _views(self, x: Float64Array) -> dict[str, Array]:
        """Return views of W_h, b_h, β_h and W_{h+1}ᵀ, with the neurons on the first axis."""
        arrays = self.network.unpack(x)
        incoming = {kind: arrays[f"{kind}{self.h}"] for kind in ("W", "b", "beta") if f"{kind}{self.h}" in arrays}
        return incoming | {"outgoing": arrays[f"W{self.h + 1}"].T}


class NeuronPermutation(_OfNeurons):
    """Permutations of the neurons of a hidden layer; generator (i, j) exchanges i and j."""

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        self.name, self.group, self.order = f"permutation:{h}", f"S_{self._n}", math.factorial(self._n)
        self.shape = (self._n, self._n)

    def _map(self, x: Float64Array, index: tuple[int, ...]) -> Float64Array:
        out, (i, j) = x.copy(), index
        for array in self._views(out).values():
            array[[i, j]] = array[[j, i]]
        return out

    def _distance(self, x: Float64Array) -> Float64Array:
        neurons = np.concatenate([a.reshape(self._n, -1) for a in self._views(x).values()], axis=1)
        return np.array([[norm(a - b) for b in neurons] for a in neurons]) / math.sqrt(2)


class NeuronSign(_OfNeurons):
    """Sign flips of the neurons of a hidden layer; generator i flips neuron i.

    (w, b) ↦ −(w, b) with u ↦ −u where σ(−z) = −σ(z), and with u ↦ u where σ(−z) = σ(z).
    """

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        self.name, self.group, self.order = f"sign:{h}", f"Z_2^{self._n}", 2**self._n
        self.shape = (self._n,)

    def _map(self, x: Float64Array, index: tuple[int, ...]) -> Float64Array:
        out = x.copy()
        arrays = self._views(out)
        if self.network.activations[self.h - 1].parity == 1:
            del arrays["outgoing"]
        for array in arrays.values():
            array[index] *= -1
        return out


class DataAutomorphism(DiscreteSymmetry):
    """Orthogonal maps of inputs and outputs that permute the samples, (x, y) ↦ (Rx, Sy): W_1 ↦ W_1Rᵀ, (W_L, b_L) ↦ S(W_L, b_L).

    S is orthogonal for "mse", permutes classes for "nll", and is 1 for losses that know their outputs by place. Directions in
    which there are no samples stay as they are. The generators are a strong generating set of all these maps.
    """

    measured = True

    def __init__(self, U: NetworkPotential) -> None:
        self.network, self.n_params = U.network, U.n_params
        m = U.network.widths[-1]
        Y, y = U.network.loss_function.vectors(U.y, m), np.asarray(U.y, np.float64).reshape(len(U.X), -1)
        if U.weights is not None and U.weights.classes is not None:
            Y = None
        X, Y, colours = _distinct(U.X, y, Y, np.ones(len(y)) if U.weights is None else U.weights.relative)
        group = automorphisms(X, Y, colours)
        n = len(group.generators)
        self.name, self.group, self.order = "data", f"{n} generator{'s' * (n != 1)}", group.order
        self.shape = (n,)
        self._maps = [(_orthogonal(X, X[p]), _orthogonal(Y, Y[p]) if Y.size else np.eye(m)) for p in group.generators]
        self._periods = [_period_of(p) for p in group.generators]

    def _period(self, index: tuple[int, ...]) -> int:
        return self._periods[index[0]]

    def _map(self, x: Float64Array, index: tuple[int, ...]) -> Float64Array:
        R, S = self._maps[index[0]]
        out = x.copy()
        arrays, last = self.network.unpack(out), self.network.n_layers
        arrays["W1"][:] = arrays["W1"] @ R.T
        for name in {f"W{last}", f"b{last}"} & arrays.keys():
            arrays[name][:] = S @ arrays[name]
        return out


def discrete_symmetries(U: Potential) -> list[DiscreteSymmetry]:
    """Return the finite groups of orthogonal maps of the parameters that leave a network's loss as it is.

    Permutations of the neurons of a hidden layer are theorems, sign flips are where the activation is odd or even. Maps that
    permute the samples are looked for in the data: all orthogonal R and S with {(Rx_s, Sy_s)} = {(x_s, y_s)}, inner products
    compared to round-off.

    Parameters
    ----------
    U : Potential
        For potentials other than a network's the result is empty.

    Returns
    -------
    list of DiscreteSymmetry
        "permutation:1", "sign:1", "permutation:2", …, and "data" where a map other than the identity permutes the samples.

    Raises
    ------
    TypeError
        If U is not a potential.
    ValueError
        If the data have more than 4096 samples that moments of the data do not tell apart.

    Notes
    -----
    An orthogonal P with U(Px) = U(x) has ∇U(Px) = P∇U(x): gradient descent, momentum and Nesterov's method commute with P, and
    Fix(P) is invariant under them. Signed permutations ("permutation", "sign") commute with algorithms that act on each
    parameter by itself too, such as Adam. In exact arithmetic a run that starts in Fix(P) stays there; round-off leaves it
    where Fix(P) is unstable.

    Examples
    --------
    >>> import noetherlite as nl, numpy as np
    >>> net = nl.Network([2, 4, 1], "tanh", loss="mse")
    >>> square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    >>> U = net.potential(square, [[1.0], [-1], [-1], [1]])
    >>> nl.discrete_symmetries(U)
    [<permutation:1: S_4, order 24>, <sign:1: Z_2^4, order 16>, <data: 4 generators, order 8>]
    """
    is_potential(U)
    if not isinstance(U, NetworkPotential):
        return []
    out: list[DiscreteSymmetry] = []
    for h, activation in enumerate(U.network.activations, start=1):
        if U.network.widths[h] > 1:
            out.append(NeuronPermutation(U.network, h))
        if activation.parity:
            out.append(NeuronSign(U.network, h))
    of_data = DataAutomorphism(U)
    return [*out, of_data] if of_data.order > 1 else out


def _distinct(
    X: Array, y: Float64Array, vectors: Float64Array | None, weights: Float64Array
) -> tuple[Array, Float64Array, IntArray]:
    """Return each sample once: inputs, target vectors, and a colour that tells apart what no map may exchange.

    These are samples with another number of copies or another weight and, where there are no target vectors, with other targets.
    """
    pairs, first, copies = np.unique(np.c_[X, y, weights], axis=0, return_index=True, return_counts=True)
    copies = np.c_[copies, pairs[:, -1]]
    if vectors is None:
        vectors = np.empty((len(X), 0))
        copies = np.c_[copies, pairs[:, X.shape[1] : -1]]
    colours = np.unique(copies.reshape(len(first), -1), axis=0, return_inverse=True)[1].reshape(-1)
    return X[first], vectors[first], colours


def _orthogonal(A: Array, image: Array) -> Float64Array:
    """Return the orthogonal R with Ra_s = a'_s for all rows, which is 1 on what is orthogonal to them."""
    inverse = np.linalg.pinv(A)
    return np.asarray(np.eye(A.shape[1]) + (inverse @ (image - A)).T)


def _period_of(permutation: IntArray) -> int:
    """Return the least m > 0 with π^m = 1."""
    image, m = permutation, 1
    while (image != np.arange(len(permutation))).any():
        image, m = permutation[image], m + 1
    return m
