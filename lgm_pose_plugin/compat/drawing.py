"""MMPose's drawing with NumPy 2.4 and newer."""
import functools
from typing import Any

import numpy as np

__all__ = ['accept_array_as_radius']


def accept_array_as_radius() -> None:
    """Let MMPose's visualizers take an array of one number as a radius.

    MMPose draws key points with such a radius. NumPy 2.4 and newer do not
    convert it to an integer, which OpenCV needs.
    """
    from mmpose.visualization.opencv_backend_visualizer import \
        OpencvBackendVisualizer
    original = OpencvBackendVisualizer.draw_circles

    @functools.wraps(original)
    def draw_circles(self: Any, center: Any, radius: Any, *args: Any,
                     **kwargs: Any) -> Any:
        if self.backend == 'opencv':
            radius = np.ravel(radius)[0]
        return original(self, center, radius, *args, **kwargs)

    OpencvBackendVisualizer.draw_circles = draw_circles
