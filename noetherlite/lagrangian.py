"""Lagrangian mechanics of any Lagrangian by complex steps: momenta, charges, generators, actions."""

from ._theory.lagrangian import (
    action,
    action_gradient,
    generator_from_group,
    generator_of,
    group_from_generator,
    hamiltonian,
    momentum,
    noether_charge,
    rund_trautmann,
)

__all__ = [
    "action",
    "action_gradient",
    "generator_from_group",
    "generator_of",
    "group_from_generator",
    "hamiltonian",
    "momentum",
    "noether_charge",
    "rund_trautmann",
]
