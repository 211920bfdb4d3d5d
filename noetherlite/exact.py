"""Closed forms and equations of the literature: linear networks, the modified equation, minima of flows, function space."""

from ._theory.function_space import function_space_velocity, neuron_products, relu_function_flow
from ._theory.linear_networks import BalancedFlow, decoupled_modes, two_layer_linear
from ._theory.minima import FlowSolution, scalar_network, scale_invariant_norm, sharpness_of_flow
from ._theory.modified_equation import modified_field, modified_flow, modified_gradient

__all__ = [
    "BalancedFlow",
    "FlowSolution",
    "decoupled_modes",
    "function_space_velocity",
    "modified_field",
    "modified_flow",
    "modified_gradient",
    "neuron_products",
    "relu_function_flow",
    "scalar_network",
    "scale_invariant_norm",
    "sharpness_of_flow",
    "two_layer_linear",
]
