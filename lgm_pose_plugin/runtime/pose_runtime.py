"""Run files of ``lgm-pose export`` without torch and MMPose.

Needs NumPy, OpenCV and the runtime of the format. Geometry and, for files that
hold raw heat maps, decoding are MMPose's (``GetBBoxCenterScale``,
``TopdownAffine``, the codecs), written for a whole batch.
"""
import os.path as osp
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .decoding import decode, flip_back, is_decodable
from .metadata import read_metadata
from .onnx_file import check_onnx
from .preprocessing import (Boxes, as_boxes, centers_and_scales, check_image,
                            crop_people, normalize)
from .session import BACKENDS, MAX_BATCH, open_session

PEOPLE_AT_ONCE = 32
MAX_VALUE = 1e30  # of what a network computes
# The package holds exported networks, too.
WEIGHTS = Path(__file__).parents[1] / '.mim' / 'weights'
# Of an image: key points (x, y) and scores.
KeyPoints = Tuple[np.ndarray, np.ndarray]


def is_exported(name: str) -> bool:
    """Whether a network is named that :func:`find_model` may find.

    Args:
        name (str): A file or the name of a network.

    Returns:
        bool: Whether it has a suffix of exported files or lies in the
        package.
    """
    return (osp.splitext(name)[1].lower() in BACKENDS
            or (WEIGHTS / f'{name}.onnx').is_file())


def find_model(name: str) -> str:
    """Find an exported network that lies in the package.

    Args:
        name (str): Its name, as ``'lgm-pose_body17-256x192'``, or a file.

    Returns:
        str: The file. One that has a suffix of exported files is left as it
        is.

    Raises:
        ValueError: If the package holds none of this name.
    """
    if osp.splitext(name)[1].lower() in BACKENDS:
        return name
    shipped = {path.stem: str(path) for path in WEIGHTS.glob('*.onnx')}
    if name not in shipped:
        raise ValueError(
            f'{name} is neither a file of `lgm-pose export` that runs here '
            f'({", ".join(BACKENDS)}) nor a network of the package '
            f'({", ".join(sorted(shipped))})')
    return shipped[name]


class PoseRuntime:
    """Key points of people in images, by an exported network.

    Its metadata are checked, and the network is run once to see that it
    computes what they say. It can be sent to worker processes, which open the
    file again.

    Args:
        file (str): An .onnx, .xml, .tflite or .param file of ``lgm-pose
            export``, or the name of a network that lies in the package.
        backend (str, optional): See :func:`.open_session`.
        threads (int): Threads the runtime may use. More than one beside other
            work can be far slower. Defaults to 1.
        device (str): What computes, ``'cpu'``, ``'cuda'``, ``'tensorrt'``,
            ``'coreml'``, ``'directml'`` or one of OpenVINO's, as
            ``'openvino:GPU'``. Defaults to ``'cpu'``.

    Attributes:
        metadata (dict): What the file says of itself, see docs/export.md:
            ``keypoint_names``, ``skeleton``, ``input_size`` and so on.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime, or what it needs for the device, is not
            installed.
        ValueError: If the file cannot be read, is not of ``lgm-pose export``
            or was altered, so that metadata and network disagree.

    Example:
        >>> import cv2
        >>> from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
        >>> runtime = PoseRuntime('lgm-pose.onnx')  # doctest: +SKIP
        >>> keypoints, scores = runtime(
        ...     cv2.imread('people.jpg'),
        ...     [[10, 20, 200, 400]])  # doctest: +SKIP
        >>> keypoints.shape, scores.shape  # doctest: +SKIP
        ((1, 17, 2), (1, 17))
    """

    def __init__(self,
                 file: str,
                 backend: Optional[str] = None,
                 threads: int = 1,
                 device: str = 'cpu'):
        self.file = find_model(str(file))
        self._arguments = osp.abspath(self.file), backend, threads, device
        if self.file.lower().endswith('.onnx') and osp.isfile(self.file):
            check_onnx(self.file, MAX_BATCH)
        self.session = open_session(self.file, backend, threads, device)
        if self.session.metadata is None:
            raise ValueError(
                f'{file} holds no metadata of lgm_pose_plugin; make it with '
                '`lgm-pose export`')
        self.metadata = read_metadata(self.session.metadata, self.file)
        self._check_network()

    def __reduce__(self) -> Tuple[Any, ...]:
        # Runtimes' sessions cannot be pickled.
        return type(self), self._arguments

    def _check_network(self) -> None:
        """Run the network once and compare with the metadata."""
        width, height = self.metadata['input_size']
        try:
            outputs = self._run(np.zeros((1, height, width, 3), np.uint8))
        # Runtimes raise whatever a broken network leads them to.
        except Exception as error:
            raise ValueError(
                f'{self.file} does not take crops of {width}x{height}, as its '
                f'metadata say: {str(error)[:400]}. Export it again'
            ) from error
        count = len(self.metadata['keypoint_names'])
        codec = self.metadata['codec']
        # Shapes, where -1 stands for any size.
        wanted: Dict[str, Tuple[int, ...]] = {}
        if self.metadata['decode']:
            wanted = dict(keypoints=(1, count, 2), scores=(1, count))
        elif codec['type'] == 'SimCCLabel':
            wanted = dict(simcc_x=(1, count, -1), simcc_y=(1, count, -1))
        elif is_decodable(codec):
            wanted = dict(heatmaps=(1, count, -1, -1))
        for name, shape in wanted.items():
            found = outputs[name].shape if name in outputs else ()
            if len(found) != len(shape) or not all(
                    one == other or one and other < 0
                    for one, other in zip(found, shape)):
                raise ValueError(
                    f'{self.file} must compute {name} of shape {shape} (-1: '
                    f'any) for its {count} key points, but computes {found}. '
                    'Export it again')
        self._check_finite(*(outputs[name] for name in wanted))

    def _check_finite(self, *values: np.ndarray) -> None:
        # NaN included, and OpenVINO's maximum of NaN, the lowest number.
        if not all((np.abs(value) < MAX_VALUE).all() for value in values):
            raise ValueError(
                f'{self.file} computes values that are not finite; its '
                'weights are broken. Export it again from a good checkpoint')

    def __call__(self,
                 image: np.ndarray,
                 boxes: Optional[Boxes] = None,
                 flip_test: bool = False) -> KeyPoints:
        """Find the key points of the people in an image.

        Args:
            image (np.ndarray): BGR image of dtype uint8 and shape
                ``(H, W, 3)``, as ``cv2.imread`` returns it.
            boxes (np.ndarray, optional): Boxes of the M people, (left, top,
                right, bottom) in pixels, of shape ``(M, 4)``. ``None`` takes
                the whole image as one person; an empty one nobody. At most
                ``MAX_PEOPLE``.
            flip_test (bool): Whether to average with the mirrored image, as
                MMPose does. Needs a file that was exported with
                ``--no-decode``, since heat maps are averaged. Defaults to
                ``False``.

        Returns:
            tuple[np.ndarray, np.ndarray]: Key points (x, y) in image pixels,
            of shape ``(M, K, 2)``, and their scores, of shape ``(M, K)``,
            both float32.

        Raises:
            ValueError: If an argument is not as described, the image is too
                large for OpenCV to warp, or the network computes values that
                are not finite.
        """
        return self.predict_batch([image], [boxes], flip_test)[0]

    def predict_batch(self,
                      images: Sequence[np.ndarray],
                      boxes: Sequence[Optional[Boxes]],
                      flip_test: bool = False) -> List[KeyPoints]:
        """Find the key points of the people in several images.

        ``PEOPLE_AT_ONCE`` people are one call of the network, whichever image
        they are in.

        Args:
            images (Sequence[np.ndarray]): See :meth:`__call__`.
            boxes (Sequence[np.ndarray]): Boxes of each image.
            flip_test (bool): See :meth:`__call__`. Defaults to ``False``.

        Returns:
            list[tuple]: What :meth:`__call__` returns, of each image.

        Raises:
            ValueError: See :meth:`__call__`.
        """
        places = [
            self._centers_and_scales(image, people)
            for image, people in zip(images, boxes)
        ]
        # Image, centre and size of each crop.
        people = [(image, centers[i:i + 1], scales[i:i + 1])
                  for image, (centers, scales) in zip(images, places)
                  for i in range(len(centers))]
        width, height = self.metadata['input_size']
        results = []
        for start in range(0, max(1, len(people)), PEOPLE_AT_ONCE):
            crops = [
                crop_people(*one, self.metadata)
                for one in people[start:start + PEOPLE_AT_ONCE]
            ]
            crops.append(np.empty((0, height, width, 3), np.uint8))
            results.append(
                self.predict_crops(np.concatenate(crops), flip_test))
        keypoints, scores = map(np.concatenate, zip(*results))
        ends = np.cumsum([len(centers) for centers, _ in places])[:-1]
        # As TopdownPoseEstimator.add_pred_to_datasample.
        return [((points / self.metadata['input_size'] * sizes[:, None] +
                  centers[:, None] - 0.5 * sizes[:, None]).astype(np.float32),
                 values)
                for points, values, (centers, sizes) in zip(
                    np.split(keypoints, ends), np.split(scores, ends), places)]

    def crop(self,
             image: np.ndarray,
             boxes: Optional[Boxes] = None) -> Tuple[np.ndarray, ...]:
        """Cut people out of an image.

        Args:
            image (np.ndarray): See :meth:`__call__`.
            boxes (np.ndarray, optional): As ``image``.

        Returns:
            tuple[np.ndarray, np.ndarray, np.ndarray]: The crops as
            :meth:`predict_crops` takes them, and their centres and sizes
            (width, height) in image pixels, both of shape ``(M, 2)``.

        Raises:
            ValueError: If an argument is not as described.
        """
        centers, scales = self._centers_and_scales(image, boxes)
        crops = crop_people(image, centers, scales, self.metadata)
        return crops, centers, scales

    def predict_crops(
            self,
            crops: np.ndarray,
            flip_test: bool = False) -> Tuple[np.ndarray, np.ndarray]:
        """Find the key points of one person in each crop.

        Args:
            crops (np.ndarray): BGR crops of the network's input size, of
                dtype uint8 and shape ``(M, H, W, 3)``.
            flip_test (bool): See :meth:`__call__`. Defaults to ``False``.

        Returns:
            tuple[np.ndarray, np.ndarray]: Key points (x, y) in crop pixels,
            of shape ``(M, K, 2)``, and scores of shape ``(M, K)``, float32.

        Raises:
            ValueError: If the crops are not as described, the flip test
                needs another file, or the network computes values that are
                not finite.
        """
        wanted = (*self.metadata['input_size'][::-1], 3)
        if not (isinstance(crops, np.ndarray) and crops.dtype == np.uint8
                and crops.shape[1:] == wanted):
            raise ValueError(f'the crops must be uint8 of shape (M, *{wanted})'
                             f', got {getattr(crops, "dtype", type(crops))} of'
                             f' shape {getattr(crops, "shape", ())}')
        if flip_test and self.metadata['decode']:
            raise ValueError(
                f'{self.file} returns key points, but the flip test averages '
                'heat maps; export it with --no-decode')
        num_keypoints = len(self.metadata['keypoint_names'])
        if not len(crops):
            return (np.empty((0, num_keypoints, 2), np.float32),
                    np.empty((0, num_keypoints), np.float32))
        outputs = self._run(crops)
        if self.metadata['decode']:
            self._check_finite(outputs['keypoints'], outputs['scores'])
            return outputs['keypoints'], outputs['scores']
        if flip_test:
            flipped = self._run(np.ascontiguousarray(crops[:, :, ::-1]))
            for name, maps in flip_back(flipped, self.metadata).items():
                outputs[name] = (outputs[name] + maps) * np.float32(0.5)
        keypoints, scores = decode(outputs, self.metadata['codec'])
        self._check_finite(keypoints, scores)
        return keypoints, scores

    def _centers_and_scales(
            self, image: np.ndarray,
            boxes: Optional[Boxes]) -> Tuple[np.ndarray, np.ndarray]:
        """Check the arguments; return centres and sizes of the crops."""
        check_image(image)
        if boxes is None:
            boxes = np.array([[0, 0, *image.shape[1::-1]]], np.float32)
        return centers_and_scales(as_boxes(boxes), self.metadata)

    def _run(self, crops: np.ndarray) -> Dict[str, np.ndarray]:
        """Run crops of shape (M, H, W, 3) through the network."""
        inputs = crops
        if not self.metadata['normalize']:
            inputs = normalize(crops, self.metadata)
        size = self.session.batch or len(inputs)
        # A fixed batch is filled up with the last crop, again and again.
        last = np.repeat(inputs[-1:], -len(inputs) % size, 0)
        inputs = np.concatenate([inputs, last])
        chunks = [
            self.session.run(inputs[start:start + size])
            for start in range(0, len(inputs), size)
        ]
        outputs = {}
        for name in chunks[0]:
            value = np.concatenate([chunk[name] for chunk in chunks])
            outputs[name] = value[:len(crops)]
            if len(value) != len(inputs):
                raise ValueError(
                    f'{self.file} computes {name} of shape {value.shape} for '
                    f'{len(inputs)} crops. Export it again')
        # What is averaged and decoded are logits, as in MMPose.
        if (self.metadata['codec']['type'] == 'SoftmaxUDPHeatmap'
                and self.metadata['format_version'] > 1
                and 'heatmaps' in outputs):
            tiny = np.finfo(np.float32).tiny
            outputs['heatmaps'] = np.log(outputs['heatmaps'].clip(tiny))
        return outputs
