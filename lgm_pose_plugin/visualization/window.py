"""A window that images are shown in."""
import os
import sys

import cv2
import numpy as np


class Window:
    """A window.

    Raises:
        ValueError: If there is no display, or OpenCV was built without.
    """
    name = 'lgm-pose predict'

    def __init__(self) -> None:
        # Without a display, Qt would end the process.
        if sys.platform.startswith('linux') and not (
                os.environ.get('DISPLAY')
                or os.environ.get('WAYLAND_DISPLAY')):
            raise ValueError('there is no display, which --show needs')
        try:
            cv2.namedWindow(self.name, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise ValueError('--show needs opencv-python in place of '
                             'opencv-python-headless') from error

    def show(self, image: np.ndarray, wait: int) -> bool:
        """Show an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
            wait (int): Milliseconds to wait for a key, 0 for no end.

        Returns:
            bool: Whether q or Escape was pressed.
        """
        cv2.imshow(self.name, image)
        return cv2.waitKey(wait) & 0xff in (ord('q'), 27)

    def close(self) -> None:
        """Close it."""
        cv2.destroyAllWindows()
