"""Loading of pictures that refuses broken ones."""
from typing import Tuple

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmpose.datasets.transforms import LoadImage
from mmpose.registry import TRANSFORMS
from PIL import Image, ImageOps

from ..datasets.base.checked_dataset import BadDataError


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImage):
    """MMPose's :class:`LoadImage` that refuses broken pictures.

    OpenCV before 5 fills the missing part of a truncated JPEG with grey. This
    transform raises an error that names the file. It also refuses a picture
    whose size is not that of the annotation file, since the annotations do not
    fit then. Mostly, such a picture is turned by its EXIF orientation, and the
    annotations were made without it.

    Grey-scale, CMYK and 16-bit pictures become BGR with 8 bits, as in
    ``LoadImage``, and the EXIF orientation is applied.

    Required keys are ``img_path`` or ``img``, and optionally ``img_shape``,
    height and width in the annotation file.

    The arguments are those of ``LoadImage``;
    ``color_type='color_ignore_orientation'`` leaves EXIF aside.
    """

    def transform(self, results: dict) -> dict:
        """Load the picture.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample with ``img``, ``img_shape`` and ``ori_shape``.

        Raises:
            BadDataError: If the file cannot be read, is not a whole picture,
                or has another size than ``img_shape``.
        """
        if 'img' not in results:
            results['img'] = image = self._read(results['img_path'])
            height, width = results.get('img_shape', image.shape[:2])
            if image.shape[:2] != (height, width):
                raise BadDataError(
                    f'{results["img_path"]} is {image.shape[1]}x'
                    f'{image.shape[0]}, but {width}x{height} in the annotation'
                    ' file. If the annotations are for the picture without '
                    'its EXIF orientation, set '
                    "color_type='color_ignore_orientation' in LoadCheckedImage"
                )
        return super().transform(results)

    def _read(self, path: str) -> np.ndarray:
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            if is_cut_jpeg(content):
                raise ValueError('a JPEG without an end')
            image = mmcv.imfrombytes(
                content, flag=self.color_type, backend=self.imdecode_backend)
        except Exception as error:  # each backend and decoder has its own
            raise BadDataError(f'{path} cannot be read: {error!r}') from error
        if image is None:
            raise BadDataError(f'{path} is broken or not a picture')
        return image


def read_size(path: str) -> Tuple[int, int]:
    """Decode an image and return its size.

    Args:
        path (str): The image.

    Returns:
        tuple[int, int]: Width and height in pixels, with the EXIF orientation
        applied, as :class:`LoadCheckedImage` sees the image.

    Raises:
        ValueError: If the file is not an image or broken.
    """
    try:
        # OpenCV reads half an image without an error.
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).size
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path} cannot be read as an image: {error}. Get '
                         'the file anew.') from error


def is_cut_jpeg(content: bytes) -> bool:
    """Tell whether a file is a JPEG that ends before its picture does.

    Args:
        content (bytes): The file.

    Returns:
        bool: ``True`` if it is. ``False`` for whole ones, for other formats,
        and if the header is cut, which no decoder takes.
    """
    if content[:2] != b'\xff\xd8':
        return False
    # A preview in the header has an end marker too; hence from segment to
    # segment up to the start of the scan (0xda).
    position = 2
    while content[position:position + 1] == b'\xff':
        if content[position + 1:position + 2] == b'\xda':
            return content.find(b'\xff\xd9', position) < 0
        position += 2 + int.from_bytes(content[position + 2:position + 4],
                                       'big')
    return False
