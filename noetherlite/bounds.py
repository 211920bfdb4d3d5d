"""Bounds on charges, quantities and mean speeds (GU Theorem 2, Corollary 3)."""

from ._motion.bounds import charge_bound, mean_speed_bound, quantity_bound

__all__ = [
    "charge_bound",
    "mean_speed_bound",
    "quantity_bound",
]
