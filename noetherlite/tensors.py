"""Laws on named tensors of any framework: what `nl.scan` returns, its files, and audits of checkpoints."""

from __future__ import annotations

from ._tensors.anchor import Anchor
from ._tensors.audit import Audit, Charge, Check, audit
from ._tensors.averaged import Averaging
from ._tensors.finding import Finding
from ._tensors.law import Law, Member
from ._tensors.law_file import dump, load
from ._tensors.legs import Leg
from ._tensors.localise import Coverage
from ._tensors.scan import Scan
from ._tensors.watch import Watch
from ._tensors.weights_file import read

__all__ = [
    "Anchor",
    "Audit",
    "Averaging",
    "Charge",
    "Check",
    "Coverage",
    "Finding",
    "Law",
    "Leg",
    "Member",
    "Scan",
    "Watch",
    "audit",
    "dump",
    "load",
    "read",
]
