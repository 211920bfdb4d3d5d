"""Parameters of networks in other frameworks' layouts, and back."""

from ._check.convert import (
    from_equinox,
    from_flax,
    from_keras,
    from_torch,
    to_equinox,
    to_flax,
    to_keras,
    to_torch,
)

__all__ = [
    "from_equinox",
    "from_flax",
    "from_keras",
    "from_torch",
    "to_equinox",
    "to_flax",
    "to_keras",
    "to_torch",
]
