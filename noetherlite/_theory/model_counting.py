"""The number of conservation laws of an architecture for every data set: brackets from above, its wiring from below (theory §14)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._arch.block import Block, Chain, Residual
from .._arch.layers import Activation, Convolution, Dense
from .._arch.model import Model
from .._arch.wires import Generator
from .._base import checks
from .._base.types import ArrayLike, Seed
from .._kernels import modular
from .._kernels.modular import PRIME
from .brackets import Residues, Span
from .counting import ALL_PATTERNS, LawCount, bracket_closure, check_memory
from .model_fields import ModelFields, products

RELU = Activation("relu")
FLOWS = ("gradient", "momentum", "mirror")
_CHECKED = 8  # fields that a symmetry is tested on


def count(
    net: Model | Block,
    flow: str = "gradient",
    rng: Seed = 0,
    memory: float = 2.0**32,
    theta: ArrayLike | None = None,
    X: ArrayLike | None = None,
) -> LawCount:
    """Count the laws of an architecture; see `count_laws`."""
    if theta is not None or X is not None:
        raise ValueError("theta and X are for a Network; expected none with an architecture")
    model, generator = net if isinstance(net, Model) else Model(net), checks.generator(rng)
    check_memory(model.n_params, checks.one_of(flow, "flow", FLOWS) == "momentum", memory)
    fields = ModelFields(model, flow, generator)
    point = fields.point(generator)
    theta = point[: model.n_params]
    symmetries = model.generators()
    _check(symmetries, fields, generator, theta)
    known, names = Span(fields.size), dict[str, int]()
    for symmetry in symmetries:
        for differential in _differentials(symmetry, flow, point, model.n_params):
            if known.add(differential):
                names[symmetry.name] = names.get(symmetry.name, 0) + 1
    depths, closed = bracket_closure(fields, fields.size - known.dimension, generator, point)
    assumed = [*_patterns(model), *fields.assumptions(generator, theta)]
    return LawCount(flow, fields.size, depths, known.dimension, closed, " and ".join(assumed), by_name=names)


def _field(symmetry: Generator, theta: Residues) -> Residues:
    """Return g(θ) = Gθ + ξ."""
    coefficients = (symmetry.coefficients % PRIME).astype(np.uint64)
    out = np.zeros(theta.size, np.uint64)
    for row, value in zip(
        symmetry.rows, products(coefficients, np.append(theta, np.uint64(1))[symmetry.columns]), strict=True
    ):
        out[row] = modular.add(out[row], value)
    return out


def _differentials(symmetry: Generator, flow: str, point: Residues, n_params: int) -> Iterator[Residues]:
    """Yield the differentials of the laws that a symmetry has under a flow, at a point.

    Gradient flow keeps ½⟨θ, Gθ⟩ for symmetric G and ⟨ξ, θ⟩; momentum ⟨Gθ, p⟩ for skew G, ⟨ξ, p⟩ and, with a function of time,
    ⟨ξ, θ⟩; the mirror flow of the entropy Σ_i G_ii θ_i for diagonal G and ⟨ξ, log θ⟩.
    """
    theta = point[:n_params]
    constant = symmetry.kind == "constant"
    if flow == "gradient":
        if constant or symmetry.kind == "symmetric":
            yield _field(symmetry, theta)
    elif flow == "mirror":
        if constant or symmetry.is_diagonal:
            inverses = np.array([modular.inverse(t) for t in theta], np.uint64)
            yield products(inverses, _field(symmetry, theta))
    elif constant:
        field, zero = _field(symmetry, theta), np.zeros(n_params, np.uint64)
        yield np.concatenate([field, zero])
        yield np.concatenate([zero, field])
    elif symmetry.kind == "skew":
        at_p = _field(symmetry, point[n_params:])
        yield np.concatenate([np.where(at_p == 0, at_p, np.uint64(PRIME) - at_p), _field(symmetry, theta)])


def _check(symmetries: list[Generator], fields: ModelFields, rng: np.random.Generator, theta: Residues) -> None:
    """Raise unless ⟨g, ∇φ⟩ = 0 for some random fields ∇φ: a symmetry that passes is none with a probability of 1e-18."""
    draws = fields.random(rng, _CHECKED, drift=False)
    forces = fields.gradients(draws, np.tile(theta[None, :, None], (_CHECKED, 1, 1)))[1][..., 0]
    for symmetry in symmetries:
        field = _field(symmetry, theta)
        if any(sum(map(int, products(field, force))) % PRIME for force in forces):
            raise ValueError(f"net: a block connects {symmetry.name!r}, which is no symmetry of what it computes")


def _patterns(model: Model) -> list[str]:
    """Return the assumption on activation patterns, [] where it is a theorem: one ReLU between linear layers.

    The kinks are different hyperplanes of the inputs if there is more than one input or a bias below.
    """
    if not any(block == RELU for block in model.blocks()):
        return []
    blocks = list(_in_a_row(model.chain))
    linear = [block for block in blocks if isinstance(block, Dense | Convolution)]
    if len(model.orbit) > 1 or blocks.count(RELU) != 1 or len(linear) < len(blocks) - 1:
        return [ALL_PATTERNS]
    below = linear[: blocks.index(RELU)]
    wide = all(block.bias or block.tensors()["W"][1:] != (1,) * (len(block.tensors()["W"]) - 1) for block in below)
    return [] if below and wide else [ALL_PATTERNS]


def _in_a_row(block: Block) -> Iterator[Block]:
    """Yield the blocks of a chain, and of chains in it."""
    if isinstance(block, Chain) and not isinstance(block, Residual):
        for part in block.blocks:
            yield from _in_a_row(part)
    else:
        yield block
