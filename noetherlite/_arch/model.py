"""A model: blocks, their tensors by name, a loss; its values and gradients in float64."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .._base import checks
from .._base.types import AnyArray, Array, ArrayLike, Float64Array, IntArray, Seed
from .block import Block, Chain, Scope, Shape, named
from .known_laws import KnownLaws
from .layers import Dense, Embedding
from .numbers import Numbers, Real
from .tensor import Tensor
from .wires import SAME_FOR_ALL, Generator
from .wiring import Wiring

Orbit = list[tuple[IntArray, IntArray]]
LOSSES = ("any", "mse", "nll")


class Model:
    """An architecture with a loss.

    Parameters
    ----------
    *blocks : Block
        In the order of evaluation.
    loss : {"any", "mse", "nll"}
        "mse": U = (1/2N) Σ |f − y|²; "nll": U = (1/N) Σ −log softmax(f)_y, over the N samples and positions. "any" has no value:
        laws are those that hold whatever the loss.

    Attributes
    ----------
    inputs, outputs : int
        Features that come in and out.
    n_params : int
        P, the number of trained parameters.
    shapes : dict of str to tuple of int
        Of all tensors.
    trained : tuple of str
        Tensors that are trained.

    Raises
    ------
    TypeError
        If one is not a block.
    ValueError
        If the loss is not known, a block returns other numbers of features than the next takes, or the tensor that a block is tied
        to is missing or has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> import noetherlite as nl
    >>> model = nl.arch.Model(nl.arch.Attention(3, head_width=2), loss="mse")
    >>> X = np.random.default_rng(0).normal(size=(5, 4, 3))  # 5 samples of 4 positions
    >>> params = model.init(rng=0)
    >>> gradient = model.gradient(params, X, np.zeros_like(X))
    >>> {name: array.shape for name, array in gradient.items()}
    {'attention.Q': (2, 3), 'attention.K': (2, 3), 'attention.V': (2, 3), 'attention.O': (3, 2)}
    """

    def __init__(self, *blocks: Block, loss: str = "any") -> None:
        self.loss = checks.one_of(loss, "loss", LOSSES)
        self.chain = blocks[0] if len(blocks) == 1 and type(blocks[0]) is Chain else Chain(*blocks)
        named_blocks = list(_within(self.chain, ""))
        self.shapes = {prefix + name: shape for prefix, b in named_blocks for name, shape in b.tensors().items()}
        frozen = {prefix + name for prefix, block in named_blocks for name in block.frozen()}
        self.trained = tuple(name for name in self.shapes if name not in frozen)
        self.inputs = _first_inputs(self.chain)
        self.outputs = self.chain.features(self.inputs)
        _check_ties((block for _, block in named_blocks), self.shapes)
        # of the data: features and signs
        self.orbit: Orbit = [(np.arange(self.inputs), np.ones(self.inputs, np.int64))]
        self.n_params = sum(math.prod(self.shapes[name]) for name in self.trained)

    def __repr__(self) -> str:
        return f"Model({', '.join(map(repr, self.chain.blocks))}, loss={self.loss!r})"

    @functools.cached_property
    def index(self) -> dict[str, IntArray]:
        """Flat numbers of each trained tensor's parameters, in its shape."""
        return _numbered({name: self.shapes[name] for name in self.trained})

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks, with those inside of others."""
        return (block for _, block in itertools.islice(_within(self.chain, ""), 1, None))

    def generators(self) -> list[Generator]:
        """Return the symmetries that the wiring shows: vector fields g with ⟨g, ∇U⟩ = 0 whatever the data."""
        return list(self._wiring(self.index).generators(self.n_params))

    def on_symmetric_data(self, matrix: ArrayLike) -> Model:
        """Return the model for data that a symmetry maps to data of the same target: `count_laws` counts for these.

        Parameters
        ----------
        matrix : array_like, shape (inputs, inputs)
            A permutation of the features, signs allowed; the loss must be "mse".

        Returns
        -------
        Model
            The same architecture.

        Raises
        ------
        ValueError
            If the matrix is no such permutation or the loss is another.

        Examples
        --------
        >>> import noetherlite as nl
        >>> model = nl.arch.Model(nl.arch.Dense(3, 1), loss="mse")
        >>> turned = model.on_symmetric_data([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
        >>> int(nl.count_laws(model)), int(nl.count_laws(turned))
        (0, 1)
        """
        if self.loss != "mse":
            raise ValueError(f"matrix needs a model with the loss 'mse', got {self.loss!r}")
        other = Model(*self.chain.blocks, loss=self.loss)
        other.orbit = _powers(matrix, self.inputs)
        return other

    def known_laws(self, flow: str = "gradient") -> KnownLaws:
        """Return the number of independent laws that the wiring gives near a generic point, by formula: for models of any size.

        Parameters
        ----------
        flow : {"gradient", "momentum"}
            As in `count_laws`.

        Returns
        -------
        KnownLaws
            A dict of laws by wire, with their sum ``.total``. All are theorems, so that there are no fewer. On the models of the table
            in theory §14 there are no more, by exact counts; other models may have more laws, which `count_laws` tells of small
            ones. With one-hot tokens there is no exact count, which ``.limit`` and `print` say.

        Raises
        ------
        ValueError
            If the flow is not known.

        Examples
        --------
        >>> import noetherlite as nl
        >>> nl.arch.Transformer(**nl.arch.PRESETS["llama-7b"]).known_laws()
        <KnownLaws: at least 9,142,272 laws of 6,738,415,616 parameters, gradient flow, by formula>
        """
        checks.one_of(flow, "flow", ("gradient", "momentum"))
        # one number stands for all parameters of a tensor: arrays of these sizes are only looked at
        index = {name: np.broadcast_to(np.int64(k), self.shapes[name]) for k, name in enumerate(self.trained)}
        tokens = any(isinstance(block, Embedding) and block.tokens for block in self.blocks())
        return KnownLaws(self._wiring(index).counts(flow == "momentum"), self.n_params, flow, tokens)

    def _wiring(self, index: Mapping[str, IntArray]) -> Wiring:
        wiring = Wiring()
        first = wiring.wire("input", self.inputs)
        first.is_free = False
        last = self.chain.connect(Scope(index), wiring, first)
        last.permit(SAME_FOR_ALL if self.loss == "nll" else frozenset())
        return wiring

    def evaluate(
        self, numbers: Numbers, tensors: Mapping[str, AnyArray], X: AnyArray
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the outputs, and the tensors as leaves.

        `tensors` have an axis for the samples in front, of size 1 where all share them; X has the shape (samples, positions, inputs).
        """
        leaves = {name: Tensor(numbers, data) for name, data in tensors.items()}
        return self.chain.forward(Scope(leaves), Tensor(numbers, X)), leaves

    def init(self, rng: Seed = 0) -> dict[str, Float64Array]:
        """Draw tensors: normal of variance 1/(size of the last axis), gains near 1.

        Parameters
        ----------
        rng : int, SeedSequence or Generator
            Source of the numbers.

        Returns
        -------
        dict of str to array
            Frozen tensors too.
        """
        draw = checks.generator(rng)
        return {
            name: draw.normal(size=shape) / math.sqrt(shape[-1]) + (name.rpartition(".")[2].startswith("gain"))
            for name, shape in self.shapes.items()
        }

    def predict(self, params: Mapping[str, ArrayLike], X: ArrayLike) -> Array:
        """Return f(x).

        Parameters
        ----------
        params : mapping of str to array
            Tensors by name, real or complex.
        X : array, shape (N, positions, inputs) or (N, inputs)
            Inputs.

        Returns
        -------
        array, shape (N, positions, outputs) or (N, outputs)
            Outputs.

        Raises
        ------
        ValueError
            If a tensor is missing or has another shape, or X has.
        """
        out, _ = self.evaluate(Real(), self._checked(params, self.shapes), self._inputs(X))
        return np.asarray(out.data[:, 0] if np.ndim(X) == 2 else out.data)

    def value_and_gradient(
        self, params: Mapping[str, ArrayLike], X: ArrayLike, y: ArrayLike
    ) -> tuple[Any, dict[str, Array]]:
        """Return U and its derivatives by the trained tensors.

        Parameters
        ----------
        params : mapping of str to array
            Tensors by name, real or complex.
        X : array, shape (N, positions, inputs) or (N, inputs)
            Inputs.
        y : array
            Targets in the shape of f(X) for mse, labels of shape (N, positions) or (N,) for nll; for the loss "any" the
            derivatives of U by f(X) themselves, and U is then their product with f(X).

        Returns
        -------
        U : float or complex
            The loss.
        gradient : dict of str to array
            Its derivatives.

        Raises
        ------
        ValueError
            If an array has the wrong shape, or a label is no class.
        """
        tensors = self._checked(params, self.shapes)
        out, leaves = self.evaluate(Real(), tensors, self._inputs(X))
        value, seed = self._loss(out.data, y)
        derivatives = out.cotangents(seed, [leaves[name] for name in self.trained])
        return value, {name: array[0] for name, array in zip(self.trained, derivatives, strict=True)}

    def gradient(self, params: Mapping[str, ArrayLike], X: ArrayLike, y: ArrayLike) -> dict[str, Array]:
        """Return the derivatives of U by the trained tensors: `value_and_gradient` without U.

        Parameters
        ----------
        params, X, y
            As in `value_and_gradient`.

        Returns
        -------
        dict of str to array
            The derivatives.
        """
        return self.value_and_gradient(params, X, y)[1]

    def pack(self, params: Mapping[str, ArrayLike]) -> Array:
        """Return the trained tensors as one vector θ.

        Parameters
        ----------
        params : mapping of str to array
            Tensors by name.

        Returns
        -------
        array, shape (P,)
            Their entries, one tensor behind the other.

        Raises
        ------
        ValueError
            If a tensor is missing or has another shape.
        """
        tensors = self._checked(params, self.trained)
        return np.concatenate([tensors[name].ravel() for name in self.trained])

    # --- inputs -----------------------------------------------------------------------------------------------------------

    def _checked(self, params: Mapping[str, ArrayLike], names: Iterable[str]) -> dict[str, AnyArray]:
        """Return the tensors of these names, with an axis for the samples in front."""
        checks.instance(params, "params", Mapping, "a mapping of names to arrays")
        tensors = {}
        for name in names:
            shape = self.shapes[name]
            if name not in params:
                raise ValueError(f"params lacks {name!r}; expected {', '.join(names)}")
            array = checks.numpy_array(params[name], f"params[{name!r}]")
            if array.shape != shape or array.dtype.kind not in "fciu":
                raise ValueError(
                    f"params[{name!r}] has shape {array.shape} and type {array.dtype}; expected numbers, {shape}"
                )
            tensors[name] = array[None]
        return tensors

    def _inputs(self, X: ArrayLike) -> AnyArray:
        x = checks.array(X, "X", ndim=(2, 3))
        if x.shape[-1] != self.inputs:
            raise ValueError(f"X has {x.shape[-1]} features; expected {self.inputs}")
        if not x.size:
            raise ValueError(f"X has shape {x.shape}; expected at least one sample and one position")
        return x[:, None] if x.ndim == 2 else x

    def _loss(self, outputs: AnyArray, y: ArrayLike) -> tuple[Any, AnyArray]:
        """Return U and its derivatives by the outputs (N, positions, n)."""
        n = outputs.shape[0] * outputs.shape[1]
        if self.loss == "nll":
            flat = outputs.reshape(n, -1)
            given = _of_shape(checks.numpy_array(y, "y"), outputs.shape[:2])
            labels = checks.labels(given.ravel(), "y", n_samples=n, n_classes=flat.shape[1])
            shifted = flat - flat.real.max(axis=1, keepdims=True)
            sums = np.exp(shifted).sum(axis=1, keepdims=True)
            chosen = np.arange(flat.shape[1]) == labels[:, None]
            value = (np.log(sums) - shifted[chosen][:, None]).sum() / n
            return value, ((np.exp(shifted) / sums - chosen) / n).reshape(outputs.shape)
        targets = _of_shape(checks.array(y, "y", ndim=(2, 3)), outputs.shape)
        if self.loss == "any":
            return (targets * outputs).sum(), targets
        return ((outputs - targets) ** 2).sum() / (2 * n), (outputs - targets) / n


def _of_shape(y: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Return y in the shape (samples, positions, …), of which one that is the only one may be left out."""
    without_positions = shape[:1] + shape[2:]
    if y.shape != shape and not (shape[1] == 1 and y.shape == without_positions):
        expected = f"{shape} or {without_positions}" if shape[1] == 1 else f"{shape}"
        raise ValueError(f"y has shape {y.shape}; expected {expected}, as the outputs have")
    return y.reshape(shape)


def _powers(matrix: ArrayLike, n: int) -> Orbit:
    """Return the powers of a signed permutation up to the identity, as (features, signs): gx = signs·x[features]."""
    features, signs = np.arange(n), np.ones(n, np.int64)
    g = checks.shaped(matrix, "matrix", (n, n))
    if not np.isin(g, (-1, 0, 1)).all() or not np.array_equal(g @ g.T, np.eye(n)):
        raise ValueError(f"matrix is {g.tolist()}; expected one entry 1 or −1 in every row and column, and zeros")
    moved, sign = np.abs(g).argmax(axis=1), g.sum(axis=1).astype(np.int64)
    powers: Orbit = [(features, signs)]
    while True:
        features, signs = features[moved], sign * signs[moved]
        if np.array_equal(features, np.arange(n)) and (signs == 1).all():
            return powers
        powers.append((features, signs))


def _within(block: Block, prefix: str) -> Iterator[tuple[str, Block]]:
    """Yield a block and those inside of it, with what precedes the names of their tensors."""
    yield prefix, block
    for name, part in named(block.parts()):
        yield from _within(part, f"{prefix}{name}.")


def _check_ties(blocks: Iterable[Block], shapes: Mapping[str, Shape]) -> None:
    """Raise ValueError unless the tensors that blocks are tied to exist, with the shape of the transposed map."""
    for block in blocks:
        if isinstance(block, Dense) and block.tied:
            shape = (block.inputs, block.outputs)
            if shapes.get(block.tied) != shape:
                raise ValueError(
                    f"tied={block.tied!r} of {block!r} is {shapes.get(block.tied, 'no tensor of the model')}; expected the "
                    f"name of one of shape {shape}, of {', '.join(shapes)}"
                )


def _numbered(shapes: Mapping[str, Shape]) -> dict[str, IntArray]:
    """Return consecutive numbers for the parameters of tensors of these shapes."""
    ends = np.cumsum([0, *(math.prod(shape) for shape in shapes.values())])
    return {
        name: np.arange(start, end).reshape(shape)
        for (name, shape), start, end in zip(shapes.items(), ends[:-1], ends[1:], strict=True)
    }


def _first_inputs(chain: Chain) -> int:
    """Return the number of input features of the first block that has one."""
    for block in chain.blocks:
        if isinstance(block, Chain):
            return _first_inputs(block)
        if block.takes is not None:
            return block.takes
    raise ValueError("no block says how many features it takes; expected one of Dense, Embedding, Attention, …")
