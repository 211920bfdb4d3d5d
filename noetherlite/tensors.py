"""Laws on named tensors of any framework: what `nl.scan` returns, and its files."""

from __future__ import annotations

from ._tensors.averaged import Averaging
from ._tensors.finding import Finding
from ._tensors.found import Scan
from ._tensors.law import Law, Member
from ._tensors.law_file import dump, load
from ._tensors.legs import Leg
from ._tensors.localise import Coverage
from ._tensors.watch import Watch

__all__ = ["Averaging", "Coverage", "Finding", "Law", "Leg", "Member", "Scan", "Watch", "dump", "load"]
