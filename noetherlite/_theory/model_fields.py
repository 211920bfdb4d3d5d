"""The fields of an architecture's flow, by reverse mode over jets modulo the prime 2⁶¹ − 1, and what is assumed of them.

A field is ∇_θ⟨c, f(θ; x)⟩ for a sample x of some positions and a derivative c of the loss by the outputs. Exponentials and roots are
elements of the field of residues that obey their own algebraic relations and no others (theory §14); whether the true functions
obey no others either is tested, see `assumptions`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .._arch.block import Scope, named
from .._arch.layers import Embedding
from .._arch.model import Model
from .._arch.numbers import Jets
from .._arch.tensor import Tensor
from .._base.types import AnyArray, IntArray
from .._kernels import modular
from .._kernels.modular import PRIME
from .brackets import Residues, Span, bracket, residues

_TRIALS = 1024  # samples drawn at once
_MOST_TRIALS = 2**22  # before it is given up to find samples whose radicands are squares
_MOST_POINTS = 32  # where the samples decide nothing about a radicand, half of the points have a root
_TOGETHER = 32  # brackets evaluated at once


class Draws(NamedTuple):
    """Fields, one for each entry of the first axis."""

    x: Residues  # samples (B, positions, inputs)
    c: Residues  # derivatives of the loss by the outputs (B, positions, outputs)
    keys: Residues  # what the gates of ReLUs are drawn by (B,)
    drift: Residues  # multiple of the free motion (B,)


class ModelFields:
    """The fields of a model's flow, near one random point θ.

    With momentum the state is (θ, p); the mirror flow of the entropy moves θ along θ ⊙ ∇φ.
    """

    def __init__(self, model: Model, flow: str, rng: np.random.Generator) -> None:
        if any(isinstance(block, Embedding) and block.tokens for block in model.blocks()):
            raise ValueError(
                "net has inputs that are one-hot, and laws are counted for inputs of any kind; expected an embedding without "
                "tokens=True, or known_laws() of the model"
            )
        self.model, self.flow, self.positions = model, flow, model.chain.positions(1)
        self.n_params, self.momentum = model.n_params, flow == "momentum"
        self.size = model.n_params * (2 if self.momentum else 1)
        self.key = int(residues(rng, 1)[0])
        self.frozen = {name: _drawn(rng, 1, *model.shapes[name]) for name in model.shapes if name not in model.trained}
        self.patience = 1  # set by the stock of samples, which are drawn again and again
        # of each radicand, by power of the data's symmetry: was it a square?
        self.seen: dict[int, list[set[bool]]] = {}
        self.x, self.keys = np.empty((0, self.positions, model.inputs), np.uint64), np.empty(0, np.uint64)
        some = _drawn(rng, 1, self.positions, model.inputs)
        out, _ = model.evaluate(Jets(0, residues(rng, 1)), self._tensors(_drawn(rng, 1, model.n_params)), some)
        self.outputs = out.shape[1:]
        self.had_roots = np.ones(1, bool)  # of the samples of the last evaluation

    def point(self, rng: np.random.Generator) -> Residues:
        """Draw a point of the flow, shape (size,), and a stock of samples whose radicands are squares there."""
        for _ in range(_MOST_POINTS):
            point = residues(rng, self.size)
            if self._stock(rng, point[: self.n_params]):
                return point
        raise ValueError("net has too many square roots: no samples were found that have all of them modulo p")

    def _stock(self, rng: np.random.Generator, theta: Residues) -> bool:
        """Draw samples whose radicands are squares at θ, and return whether there are several."""
        positions, features = self.outputs
        seeds = positions * (features - (self.model.loss == "nll"))  # independent derivatives of a sample's loss
        wanted = 8 + 3 * self.n_params // (2 * max(1, seeds))
        tensors = self._tensors(theta[None, :, None])
        for trials in range(0, _MOST_TRIALS, _TRIALS):
            x, keys = _drawn(rng, _TRIALS, self.positions, self.model.inputs)[..., 0], residues(rng, _TRIALS)
            good = np.arange(_TRIALS)
            for k in range(len(self.model.orbit)):
                good = good[self._with_roots(tensors, self._moved(x[good], k), keys[good] ^ np.uint64(k), k)]
            self.x, self.keys = np.concatenate([self.x, x[good]]), np.concatenate([self.keys, keys[good]])
            if len(self.x) >= wanted or (trials > _MOST_TRIALS // 64 and not len(self.x)):
                break
        self.patience = 24 + 2 * min(len(self.x), 64)
        return len(self.x) > 1

    def _moved(self, x: Residues, k: int) -> Residues:
        """Return samples moved by the k-th power of the data's symmetry."""
        features, signs = self.model.orbit[k]
        x = x[:, :, features]
        return np.where((signs < 0).reshape(-1, *[1] * (x.ndim - 3)) & (x > 0), np.uint64(PRIME) - x, x)

    def _with_roots(self, tensors: dict[str, AnyArray], x: Residues, keys: Residues, k: int) -> IntArray:
        """Return the indices of the samples that, moved k times, have squares as radicands; after every block it goes on with those alone."""
        numbers, good = Jets(self.key, keys), np.arange(len(x))
        scope = Scope({name: Tensor(numbers, data) for name, data in tensors.items()})
        y = Tensor(numbers, x[..., None])
        for name, block in named(self.model.chain.blocks):
            y = block.forward(scope.within(name), y)
            draws = np.flatnonzero(numbers.square)
            good, y = good[draws], Tensor(numbers, y.data[draws])
            numbers.keep(draws)
            if not good.size:
                break
        none = set[bool]()
        seen = itertools.zip_longest(self.seen.get(k, []), numbers.signs, fillvalue=none)
        self.seen[k] = [a | b for a, b in seen]
        return good

    def _tensors(self, theta: AnyArray) -> dict[str, AnyArray]:
        """Return tensors of jets (B, …, 2ᵏ) for θ of shape (B, P, 2ᵏ)."""
        trained = {
            name: theta[:, index.ravel()].reshape(len(theta), *index.shape, -1)
            for name, index in self.model.index.items()
        }
        return trained | self.frozen

    def at(self, draws: Draws, point: Residues) -> Residues:
        """Return the fields at jets of shape (B, size, 2ᵏ), in that shape."""
        theta, size = point[:, : self.n_params], point.shape[-1]
        numbers, force = self.gradients(draws, theta)
        if self.flow == "mirror":
            return numbers.multiply(theta, force)
        if not self.momentum:
            return force
        drift = np.broadcast_to(draws.drift[:, None, None], (*theta.shape[:2], 1))
        return np.concatenate([numbers.multiply(drift, point[:, self.n_params :]), force], axis=1).reshape(
            -1, self.size, size
        )

    def gradients(self, draws: Draws, theta: Residues) -> tuple[Jets, Residues]:
        """Return ∇φ at jets of shape (B, P, 2ᵏ), in that shape, with the numbers of the evaluation."""
        numbers, force = Jets(self.key, draws.keys), np.zeros_like(theta)
        self.had_roots = np.ones(len(theta), bool)
        for k in range(len(self.model.orbit)):
            numbers = Jets(self.key, draws.keys ^ np.uint64(k))
            out, leaves = self.model.evaluate(numbers, self._tensors(theta), self._moved(draws.x, k)[..., None])
            seed = draws.c[..., None]
            if len(self.model.orbit) > 1:  # f − y, with one target y for the orbit
                seed = numbers.add(out.data, seed)
            self.had_roots &= numbers.square
            derivatives = out.cotangents(seed, [leaves[name] for name in self.model.trained])
            for index, array in zip(self.model.index.values(), derivatives, strict=True):
                part = force[:, index.ravel(), : array.shape[-1]]
                flat = array.reshape(len(theta), -1, array.shape[-1])
                force[:, index.ravel(), : array.shape[-1]] = numbers.add(part, flat)
        return numbers, force

    def random(self, rng: np.random.Generator, n: int, drift: bool) -> Draws:
        """Draw n fields; with `drift`, and momentum, they include the free motion."""
        chosen = rng.permutation(np.resize(np.arange(len(self.x)), max(n, len(self.x))))[:n]
        return self._fields(rng, self.x[chosen], self.keys[chosen], drift)

    def _fields(self, rng: np.random.Generator, x: Residues, keys: Residues, drift: bool) -> Draws:
        n = len(x)
        c = _drawn(rng, n, *self.outputs)[..., 0]
        if self.model.loss == "nll":  # p − y, whose entries sum to 0
            c[..., -1] = [[-sum(map(int, row[:-1])) % PRIME for row in sample] for sample in c]
        moving = residues(rng, n) if drift else np.zeros(n, np.uint64)
        return Draws(x, c, keys, moving)

    def brackets(self, rng: np.random.Generator, point: Residues, depth: int) -> Iterator[Residues]:
        """Yield brackets of `depth` random fields at a point of shape (size,), without end."""
        while True:
            chain = [self.random(rng, _TOGETHER, drift=k > 0) for k in range(depth)]
            yield from bracket(self.at, chain, np.tile(point[None, :, None], (_TOGETHER, 1, 1)))[..., 0]

    def motions(self, rng: np.random.Generator) -> Iterator[tuple[Residues, Residues]]:
        """Yield random points and a field at each, both of shape (n, size), where all roots exist, without end."""
        for _ in range(_MOST_TRIALS // _TOGETHER):
            x, keys = _drawn(rng, _TOGETHER, *self.x.shape[1:])[..., 0], residues(rng, _TOGETHER)
            draws = self._fields(rng, x, keys, drift=True)
            points = _drawn(rng, _TOGETHER, self.size)
            values = self.at(draws, points)
            good = self.had_roots
            if good.any():
                yield points[good, :, 0], values[good, :, 0]
        raise ValueError(f"net has too many square roots: too few of {_MOST_TRIALS} samples have all of them modulo p")

    def assumptions(self, rng: np.random.Generator, theta: Residues) -> list[str]:
        """Return the assumptions that tests of algebraic independence leave.

        Exponentials are algebraically independent over the field below if their arguments are linearly independent over Q, up to
        functions of θ (Ax). A relation would hold between their derivatives by x, with the same coefficients at every θ and x: it is
        excluded by the rank of a matrix of these. A radicand that is a square at some samples and none at others, where all before
        it are squares, is no square of an element of the field below.
        """
        assumed = []
        if not self._exponentials_independent(rng, theta):
            assumed.append("exponentials of dependent arguments are independent")
        if any(len(signs) < 2 for signs in itertools.chain(*self.seen.values())):
            assumed.append("square roots are independent")
        return assumed

    def _exponentials_independent(self, rng: np.random.Generator, theta: Residues) -> bool:
        """Return whether the derivatives of the exponents by x have a matrix of full rank: at θ, or else at θ drawn anew."""
        shared = np.resize(np.arange(len(self.x)), 2 * _TOGETHER)
        numbers = self._along(rng, self.x[shared], self.keys[shared], theta[None, :, None])
        if _of_full_rank(numbers):
            return True
        x = _drawn(rng, _TRIALS, self.positions, self.model.inputs)[..., 0]
        return _of_full_rank(self._along(rng, x, residues(rng, _TRIALS), _drawn(rng, _TRIALS, self.n_params)))

    def _along(self, rng: np.random.Generator, x: Residues, keys: Residues, theta: Residues) -> Jets:
        """Return the numbers of an evaluation at jets of random directions of x, of whole orbits."""
        numbers = Jets(self.key, keys)
        moving = np.stack([x, residues(rng, x.size).reshape(x.shape)], axis=-1)
        for k in range(len(self.model.orbit)):
            self.model.evaluate(numbers, self._tensors(theta), self._moved(moving, k))
        return numbers


def _of_full_rank(numbers: Jets) -> bool:
    """Return whether the derivatives of the exponents are linearly independent, for samples that had all roots."""
    if not numbers.arguments:
        return True
    values, derivatives = (np.array(part)[:, numbers.square] for part in zip(*numbers.arguments, strict=True))
    span = Span(values.shape[1])
    return all(span.add(derivatives[k]) for k in _different(values))


def _different(values: Residues) -> list[int]:
    """Return numbers of rows such that every row is one of those, its negative, or zero: E(0) = 1, E(−a) E(a) = 1."""
    seen: set[bytes] = set()
    different = []
    for k, row in enumerate(values):
        negative = np.where(row == 0, row, np.uint64(PRIME) - row)
        if row.any() and not seen & {row.tobytes(), negative.tobytes()}:
            different.append(k)
            seen.add(row.tobytes())
    return different


def _drawn(rng: np.random.Generator, *shape: int) -> Residues:
    """Draw residues as jets of one coefficient."""
    return residues(rng, int(np.prod(shape))).reshape(*shape, 1)


def products(factor: Residues, vector: Residues) -> Residues:
    """Return the residues of entrywise products of two vectors."""
    out = np.zeros((vector.size, 1), np.uint64)
    modular.multiply_jets(np.ascontiguousarray(factor)[:, None], np.ascontiguousarray(vector)[:, None], out)
    return out[:, 0]
