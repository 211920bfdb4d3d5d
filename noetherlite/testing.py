"""Assertions for test suites of training code."""

from ._check.asserts import assert_gradient, assert_law_holds, assert_symmetric

__all__ = [
    "assert_gradient",
    "assert_law_holds",
    "assert_symmetric",
]
