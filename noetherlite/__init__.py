"""noetherlite: conserved quantities of neural-network training, to round-off."""

from __future__ import annotations

from . import datasets, potentials
from .algorithms import GD, NAGD, Algorithm, ConformalLeapfrog, Leapfrog
from .dynamics import GF, NAGF, ND, Dynamics
from .laws import LawRecord
from .network import Network
from .simulate import DivergenceError, Snapshot, integrate
from .symmetries import Symmetry
from .trajectory import Trajectory, load
