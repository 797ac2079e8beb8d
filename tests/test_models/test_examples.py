"""The examples in the docstrings of networks and codecs."""
import doctest
import sys

import pytest

from lgm_pose_plugin import codecs
from lgm_pose_plugin.models import (backbones, distillers, heads, layers,
                                    losses, necks)

CLASSES = [
    getattr(package, name) for package in (backbones, codecs, distillers,
                                           heads, layers, losses, necks)
    for name in package.__all__
]


@pytest.mark.parametrize('cls', CLASSES)
def test_example(cls):
    names = vars(sys.modules[cls.__module__])
    test, = doctest.DocTestFinder(recurse=False).find(cls, globs=dict(names))
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 0 and result.failed == 0
