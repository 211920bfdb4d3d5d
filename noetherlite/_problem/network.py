"""Fully connected networks: the layout of θ, initialisation, and evaluation by the compiled kernels, the potential on data."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import checks, html
from .._base.floating import underflowing
from .._base.types import Array, ArrayLike, Float64Array, IntArray, Seed
from .._kernels import layout, reference
from .._kernels.cpu import compiled
from . import initial
from .activations import Activation, parse
from .blocks import Block, blocks
from .losses import Loss
from .losses import parse as parse_loss
from .potentials import KernelPotential, owned
from .weights import weights

if TYPE_CHECKING:
    from .dataset import Dataset

_WIDEST = 10**9  # so that products of two widths are integers of 64 bits


class Network:
    """A fully connected network f(x; input), z_h = W_h a_{h−1} + b_h, a_h = σ_h(z_h), f = z_L.

    Parameters
    ----------
    widths : sequence of int
        n_0 … n_L: inputs, hidden layers, outputs; at least two numbers.
    activation : str or sequence of str
        One for all hidden layers, or one per hidden layer: "linear", "linear(0.7)", "relu", "leaky_relu(0.1)", "polynomial(2)", "repu(3)", "swish" (trainable
        β per neuron), "swish(1.0)" (fixed β, also called "silu"), "tanh", "erf", "gelu", "gelu_tanh", "softplus", "logistic" ("sigmoid"), "sin", "cos",
        "elu(1.0)", "celu(1.0)", "softsign", "hard_tanh", "abs", "exp", "gaussian" (e^(−z²)).
    bias : bool
        Whether every layer has a bias b_h.
    loss : str
        U = (1/N) Σ ℓ over N samples, of f and integer labels y (N,): "nll", ℓ = −log softmax(f)_y; "nll(0.1)", the same with labels smoothed by 0.1;
        probabilities y (N, n_L): "cross_entropy", ℓ = −Σ_i y_i log softmax(f)_i;
        targets y (N, n_L): "mse", ℓ = ½|f − y|²; "mse_mean", ℓ = |f − y|²/n_L; "huber(1.0)", ℓ = Σ_i h(f_i − y_i), h(d) = ½d² for |d| ≤ 1, |d| − ½ beyond;
        labels y = ±1 (N, n_L), or (N,) for one output: "logistic", ℓ = Σ_i log(1 + e^(−y_i f_i)); "exponential", Σ_i e^(−y_i f_i); "squared_hinge",
        Σ_i max(0, 1 − y_i f_i)².

    Attributes
    ----------
    n_params : int
        P, the length of θ.
    blocks : tuple of Block
        The layout of θ: W1, b1, beta1, W2, b2, …

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([2, 3, 1], activation="relu", loss="mse")
    >>> net.n_params
    13
    >>> sorted(net.unpack(net.init(rng=0)))
    ['W1', 'W2', 'b1', 'b2']
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str | Activation | Sequence[str | Activation] = "relu",
        bias: bool = True,
        loss: str = "nll",
    ) -> None:
        items = checks.items(widths, "widths", "a sequence of integers")
        self.widths = tuple(checks.integer(n, f"widths[{i}]", minimum=1, maximum=_WIDEST) for i, n in enumerate(items))
        if len(self.widths) < 2:
            raise ValueError(f"widths={list(self.widths)} is too short; expected at least inputs and outputs")
        hidden = len(self.widths) - 2
        if isinstance(activation, Iterable) and not isinstance(activation, str):
            self.activations = tuple(parse(a) for a in activation)
        else:
            self.activations = (parse(activation),) * hidden
        if len(self.activations) != hidden:
            raise ValueError(
                f"activation has {len(self.activations)} entries; expected one, or one for each of {hidden} hidden layers"
            )
        self.bias = checks.boolean(bias, "bias")
        self.loss, self._loss = parse_loss(loss)
        if self.widths[-1] < (fewest := self.loss_function.fewest_outputs):
            raise ValueError(f"loss={self.loss!r} needs at least {fewest} outputs, got widths={list(self.widths)}")
        self.blocks = tuple(blocks(self.widths, self.activations, self.bias))
        self.n_params = self.blocks[-1].stop

    @property
    def loss_function(self) -> Loss:
        """Its loss."""
        return self._loss

    @property
    def n_layers(self) -> int:
        """L, the number of weight matrices."""
        return len(self.widths) - 1

    def __repr__(self) -> str:
        activation = [str(a) for a in self.activations]
        return f"Network({list(self.widths)}, activation={activation}, bias={self.bias}, loss={self.loss!r})"

    def _repr_html_(self) -> str:
        rows = []
        for h in range(1, self.n_layers + 1):
            blocks = [b for b in self.blocks if b.name in (f"W{h}", f"b{h}", f"beta{h}")]
            arrays = ", ".join(f"{b.name} {b.shape}" for b in blocks)
            activation = self.activations[h - 1] if h < self.n_layers else "none (output)"
            rows.append(
                (h, f"{self.widths[h - 1]} → {self.widths[h]}", activation, arrays, blocks[-1].stop - blocks[0].start)
            )
        title = f"Network of {self.n_params} parameters, loss {self.loss}"
        return html.table(title, rows, ("layer", "widths", "activation", "arrays in θ", "parameters"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.specification() == other.specification()

    def __hash__(self) -> int:
        return hash((self.widths, self.activations, self.bias, self.loss))

    def specification(self) -> dict[str, Any]:
        """Return the arguments that make this network, ready for JSON."""
        return {
            "widths": list(self.widths),
            "activation": [str(a) for a in self.activations],
            "bias": self.bias,
            "loss": self.loss,
        }

    # --- θ ---------------------------------------------------------------------------------------------------------

    def unpack(self, theta: Array) -> dict[str, Array]:
        """Return the layers' arrays as views into `theta` of shape (P,): "W{h}" (n_h, n_{h−1}), "b{h}" (n_h,), "beta{h}" (n_h,), h = 1 … L."""
        theta = checks.numpy_array(theta, "theta")
        if theta.shape != (self.n_params,):
            raise ValueError(f"theta must have shape ({self.n_params},), got {theta.shape}")
        return {b.name: b.of(theta) for b in self.blocks}

    def pack(self, arrays: Mapping[str, ArrayLike]) -> Float64Array:
        """Return θ of shape (P,) from the layers' arrays, the inverse of `unpack`.

        Raises
        ------
        ValueError
            If an array is missing, not known, of another shape or not finite.
        """
        checks.instance(arrays, "arrays", Mapping, "a mapping of names to arrays")
        names = [b.name for b in self.blocks]
        missing, unknown = set(names) - set(arrays), set(arrays) - set(names)
        if missing or unknown:
            raise ValueError(
                f"arrays has missing entries {sorted(missing)} and unknown ones {sorted(unknown)}; expected {names}"
            )
        theta = np.empty(self.n_params)
        for b in self.blocks:
            theta[b.part] = checks.shaped(arrays[b.name], b.name, b.shape).ravel()
        return theta

    def block(self, name: str) -> Block | None:
        """Return the block called `name`, or None where the network has none."""
        return next((b for b in self.blocks if b.name == name), None)

    def init(
        self,
        rng: Seed = None,
        scheme: str = "lecun",
        bias_std: float = 0.0,
        scale: float = 1.0,
        balance: float | None = None,
    ) -> Float64Array:
        """Draw initial parameters θ of shape (P,): normal or orthogonal weights, swish's β = 1.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            Where the randomness comes from (SPEC 7).
        scheme : {"lecun", "he", "xavier", "ntk", "orthogonal"}
            Variance V of a weight: 1/fan_in, 2/fan_in, 2/(fan_in + fan_out), or (ntk) 1/(fan_in E[σ(g)²]) with σ the activation below and g standard normal: every
            pre-activation then has unit variance at infinite width. There is no factor in front of the weights, so that the share of W_1 in the tangent kernel of
            one hidden layer falls with its width n like 1/n, some 17 % at n = 64 and 0.1 % at 16,384: such a network tends to random features, of which the last
            layer alone is trained; `nl.parametrization` has the rates by block with which it tends to other kernels, or to none. "orthogonal": W_h has orthonormal
            rows or columns (Saxe et al. 2014).
        bias_std : float
            Standard deviation of the biases; they are zero by default.
        scale : float
            Factor of all weights, positive: a small one makes features move ("rich"), a large one keeps them ("lazy").
        balance : float, optional
            λ: the same function with the charge 2Q = |w|² + b² − p|u|² [− β²] = λ of every neuron, scaled as by `nl.rebalance`, or of linear layers W_hW_hᵀ −
            W_{h+1}ᵀW_{h+1} = λI, whose inner singular vectors are drawn anew. 0 is the balanced start; layers without a symmetry stay. Without it 2Q has the mean
            n_{h−1}V_h + bias_std² − p n_{h+1}V_{h+1} [− 1]; "orthogonal" is balanced in linear layers of equal widths (theory §11).

        Raises
        ------
        ValueError, TypeError
            If an argument is not as described; if `balance` finds no charge, linear layers among others or with biases, or widths that no such matrices have:
            n_0 ≥ … ≥ n_{L−1} is needed for λ > 0, n_1 ≤ … ≤ n_L for λ < 0, nothing for λ = 0.

        Examples
        --------
        >>> import noetherlite as nl
        >>> W = (net := nl.Network([4, 3, 2], "linear", loss="mse")).unpack(net.init(rng=0, balance=0.5))
        >>> (W["W1"] @ W["W1"].T - W["W2"].T @ W["W2"]).round(12).diagonal().tolist()
        [0.5, 0.5, 0.5]
        """
        return initial.draw(self.blocks, self.activations, rng, scheme, bias_std, scale, balance)

    def weight_std(self, h: int, scheme: str) -> float:
        """Return the standard deviation of the entries of W_h, h = 1 … L, in `init` with this scheme."""
        h = checks.integer(h, "h", minimum=1, maximum=self.n_layers)
        scheme = checks.one_of(scheme, "scheme", initial.SCHEMES)
        return initial.weight_std((self.widths[h], self.widths[h - 1]), self.activations[: h - 1], scheme)

    # --- evaluation --------------------------------------------------------------------------------------------------

    def potential(
        self,
        data: Dataset | ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None,
    ) -> NetworkPotential:
        """Return the potential U(θ) of this network on a `Dataset`, or on inputs X (N, n_0) and targets y.

        The arguments are those of `potentials.NetworkPotential`.
        """
        return NetworkPotential(self, data, y, sample_weight=sample_weight, class_weight=class_weight)

    @underflowing
    def predict(self, theta: ArrayLike, X: ArrayLike) -> Float64Array:
        """Return f(θ; X) of shape (N, n_L) for inputs X of shape (N, n_0)."""
        X = self.inputs(X)
        problem = self.problem(X, None, "float64")
        return compiled.predict(problem, self._theta(theta))

    def loss_value(self, theta: ArrayLike, X: ArrayLike, y: ArrayLike) -> float:
        """Return the loss U(θ) on X, y."""
        return self.potential(X, y).value(self._theta(theta))

    def gradient(self, theta: ArrayLike, X: ArrayLike, y: ArrayLike) -> Float64Array:
        """Return ∇U(θ) of shape (P,) on X, y."""
        return self.potential(X, y).gradient(self._theta(theta))

    def value_and_gradient(self, theta: ArrayLike, X: ArrayLike, y: ArrayLike) -> tuple[float, Float64Array]:
        """Return U(θ) and ∇U(θ) on X, y by one forward and one backward pass."""
        return self.potential(X, y).value_and_gradient(self._theta(theta))

    @underflowing
    def jacobian(self, theta: ArrayLike, X: ArrayLike) -> Float64Array:
        """Return ∂f/∂θ of shape (N, n_L, P) for inputs X of shape (N, n_0), by hand-written backward passes."""
        X = self.inputs(X)
        return reference.jacobian(self.problem(X, None, "float64"), self._theta(theta))

    def _theta(self, theta: ArrayLike) -> Array:
        return np.require(checks.shaped(theta, "theta", (self.n_params,)), requirements=["C", "W"])

    def inputs(self, X: ArrayLike, name: str = "X") -> Array:
        """Return `X` as an array of shape (N, n_0), or raise a ValueError or TypeError that calls it `name`."""
        X = checks.array(X, name, ndim=2)
        if X.shape[0] == 0:
            raise ValueError(f"{name} holds no samples; expected at least one row")
        if X.shape[1] != self.widths[0]:
            raise ValueError(f"{name} must have {self.widths[0]} columns, one per input, got {X.shape[1]}")
        return X

    def problem(self, X: Array, y: Any, dtype: str) -> layout.Problem:
        """Return the kernels' description of this network on checked X and y (None where only f is wanted)."""
        if y is None:
            y = self.loss_function.blank(X.shape[0], self.widths[-1])
        labels, targets = self.loss_function.arrays(y, self.widths[-1], dtype)
        return _without_data(self, dtype)._replace(X=layout.plain(X, dtype), labels=labels, targets=targets)


@functools.lru_cache(maxsize=64)
def _without_data(network: Network, dtype: str) -> layout.Problem:
    """Return the kernels' description of a network; many runs share its arrays, which none of them changes."""
    offsets = np.full((network.n_layers, 3), -1, np.int64)
    for b in network.blocks:
        kind = b.name.rstrip("0123456789")
        offsets[int(b.name[len(kind) :]) - 1, ("W", "b", "beta").index(kind)] = b.start
    activations, loss = network.activations, network.loss_function
    return layout.analytic(layout.NETWORK, np.empty((0, 0)), dtype)._replace(
        widths=np.array(network.widths, np.int64),
        offsets=offsets,
        activation=np.array([a.code for a in activations], np.int64),
        in_place=np.array([a.kind.in_place for a in activations], np.int64),
        parameter=np.array([*(a.constant for a in activations), loss.constant(network.widths[-1])], dtype),
        loss=loss.code,
    )


class NetworkPotential(KernelPotential):
    """The loss of a network on a training set, U(θ) ≥ 0.

    Parameters
    ----------
    network : Network
        The network f(θ; ·) and its loss.
    data : Dataset or array_like
        A data set, whose arrays are shared, or inputs X of shape (N, n_0), which are copied.
    y : array_like, optional
        With inputs given as an array: labels (N,) for "nll", targets (N, n_L) for "mse"; copied.
    sample_weight : array_like, shape (N,), optional
        Weights v_s ≥ 0 of the samples: U = Σ_s v_s ℓ_s / Σ_s v_s.
    class_weight : array_like, shape (n_L,), optional
        Weights c_i ≥ 0 of the classes, for "nll", "nll(c)" and "cross_entropy": U = Σ_s v_s ℓ_s / D with ℓ_s = −Σ_i c_i y_si log softmax(f)_i. D is Σ_s v_s c_{y_s} for labels and Σ_s v_s for probabilities, as in PyTorch's CrossEntropyLoss(weight=c).

    Attributes
    ----------
    rotation_invariant : bool
        The data set's claim, which `nl.symmetries` verifies.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit the network, a label is out of range, a weight is negative, or an entry is NaN or infinite.

    Notes
    -----
    Minibatches of n samples have the loss Σ_s w_s ℓ_s / n with weights w_s of mean 1 over *all* samples, so that its mean over an epoch is U; PyTorch divides by
    the weights of the minibatch, whose gradients are no unbiased estimates.
    """

    def __init__(
        self,
        network: Network,
        data: Dataset | ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        class_weight: ArrayLike | None = None,
    ) -> None:
        inputs: Any = data
        self.dataset = ""
        self.rotation_invariant = False
        if y is None:
            if not (hasattr(inputs, "X") and hasattr(inputs, "y")):
                raise TypeError(f"potential needs a Dataset, or X and y; got {checks.describe(inputs)} alone")
            self.rotation_invariant = bool(getattr(inputs, "rotation_invariant", False))
            inputs, y, self.dataset = inputs.X, inputs.y, str(inputs.name)
        checks.instance(network, "network", Network, "a Network")
        self.network = network
        self.X: Array = network.inputs(inputs)
        self.n_samples = self.X.shape[0]
        self.y = network.loss_function.checked(y, self.n_samples, network.widths[-1])
        if inputs is data:
            self.X, self.y = owned(self.X, inputs), owned(self.y, y)
        self.n_params = network.n_params
        self.weights = weights(network.loss_function, self.y, network.widths[-1], sample_weight, class_weight)
        self.given_weights = {
            name: np.array(given, np.float64)
            for name, given in (("sample_weight", sample_weight), ("class_weight", class_weight))
            if given is not None
        }

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The named arrays inside θ, those of the network."""
        return self.network.blocks

    def problem(self, dtype: str = "float64") -> layout.Problem:
        """Return the kernels' description of the network on its data."""
        problem = self.network.problem(self.X, self.y, dtype)
        return problem if self.weights is None else self.weights.enter(problem)

    def part(self, samples: Any, y: Array | IntArray | None = None) -> NetworkPotential:
        """Return the potential of some of the samples, weighted as they are in this one; `y` takes the place of their labels."""
        out = copy.copy(self)
        out.X, out.y = self.X[samples], self.y[samples] if y is None else y
        out.n_samples = len(out.X)
        out.weights = None if self.weights is None else self.weights.of(samples)
        return out

    def specification(self) -> dict[str, Any]:
        """Return the network's specification and the data's name and size."""
        return {
            "kind": "network",
            "network": self.network.specification(),
            "dataset": self.dataset,
            "n_samples": self.n_samples,
            **({"weights": sorted(self.given_weights)} if self.given_weights else {}),
        }

    def __repr__(self) -> str:
        return f"NetworkPotential({self.network!r}, {self.dataset or 'data'}: {self.n_samples} samples)"
