"""The neural tangent kernel: measured, in the limit of infinite width, what it predicts, and how fast it is approached."""

from ._theory.ntk_kernel import kernel, predict, predict_parameters
from ._theory.ntk_limit import infinite_width
from ._theory.ntk_widths import WidthStudy, width_study

__all__ = ["WidthStudy", "infinite_width", "kernel", "predict", "predict_parameters", "width_study"]
