"""The examples in the docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import noetherlite

MODULES = [
    m.name for m in pkgutil.walk_packages(noetherlite.__path__, "noetherlite.") if m.name != "noetherlite.__main__"
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(importlib.import_module(name)):
        if test.examples:  # to run one of the many docstrings without takes as long: a debugger is made ready
            runner.run(test)
    assert runner.summarize().failed == 0


def test_there_are_examples():
    assert any(doctest.DocTestFinder().find(noetherlite.Network)[0].examples)
