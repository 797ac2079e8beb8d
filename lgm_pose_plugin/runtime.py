"""Run files of ``lgm-pose export`` without torch and MMPose.

Needs NumPy, OpenCV and ONNX Runtime or OpenVINO. Geometry and, for files that
hold raw heat maps, decoding are MMPose's (``GetBBoxCenterScale``,
``TopdownAffine``, the codecs), written for a whole batch.
"""
import functools
import hashlib
import os.path as osp
import threading
from typing import (Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple,
                    Union)

import cv2
import numpy as np

__all__ = ['PoseRuntime']

METADATA_KEY = 'lgm_pose_plugin'
# Where OpenVINO's .xml keeps the SHA-256 of the .bin that belongs to it.
BIN_KEY = 'lgm_pose_plugin_bin'
# Backends by suffix, the first is the default; OpenVINO reads both.
BACKENDS = {'.onnx': ('onnxruntime', 'openvino'), '.xml': ('openvino', )}
# People of an image: at most, and at most in one call of the network.
MAX_PEOPLE = 10000
PEOPLE_AT_ONCE = 32
# Boxes lie within so many pixels of the origin.
MAX_COORDINATE = 10**6
MAX_VALUE = 1e30  # of what a network computes
MAX_BATCH = 4096  # that a file fixes


class Session(NamedTuple):
    """An opened network.

    Attributes:
        metadata (str, optional): What the file holds under ``METADATA_KEY``.
        batch (int, optional): The batch size, ``None`` for any.
        run (callable): Takes the input, or all inputs by name, and returns
            the outputs by name.
    """
    metadata: Optional[str]
    batch: Optional[int]
    run: Callable[[Union[np.ndarray, Dict[str, np.ndarray]]], Dict[str,
                                                                   np.ndarray]]


def open_session(file: str,
                 backend: Optional[str] = None,
                 threads: int = 1) -> Session:
    """Open an .onnx or .xml file in its runtime, in float32 on the CPU.

    Args:
        file (str): The file.
        backend (str, optional): ``'onnxruntime'`` or ``'openvino'``. Defaults
            to ONNX Runtime for .onnx and OpenVINO for .xml files; OpenVINO
            runs both.
        threads (int): Threads the runtime may use. Defaults to 1.

    Returns:
        Session: The network.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If the runtime cannot read the file; from ``run``, if it
            cannot run it.
    """
    suffix = osp.splitext(file)[1].lower()
    if suffix not in BACKENDS:
        raise ValueError(f'{file} is no file of `lgm-pose export`: its name '
                         f'does not end in {" or ".join(BACKENDS)}')
    backend = backend or BACKENDS[suffix][0]
    if backend not in BACKENDS[suffix]:
        raise ValueError(f'{file} is run by {" or ".join(BACKENDS[suffix])}, '
                         f'not by {backend!r}')
    if threads < 1:
        raise ValueError(f'threads must be at least 1, got {threads}')
    parts = [file] if suffix == '.onnx' else [file, file[:-4] + '.bin']
    for part in parts:
        if not osp.isfile(part):
            raise FileNotFoundError(f'there is no file {part}')
    opener = dict(onnxruntime=_open_onnxruntime, openvino=_open_openvino)
    try:
        session = opener[backend](file, threads)
    except ImportError as error:
        raise ImportError(f'{file} needs {backend}: pip install {backend} '
                          f'({error})') from error
    # Runtimes raise whatever a broken file leads them to.
    except Exception as error:
        raise ValueError(
            f'{backend} cannot read {file}: {str(error)[:400]}') from error

    def run(inputs: Union[np.ndarray, dict]) -> Dict[str, np.ndarray]:
        try:
            return session.run(inputs)
        # Of inputs that do not fit, of memory, and ONNX Runtime's are bare
        # exceptions.
        except Exception as error:
            raise ValueError(
                f'{backend} cannot run {file}: {str(error)[:400]}') from error

    return session._replace(run=run)


def _open_onnxruntime(file: str, threads: int) -> Session:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait slow down whatever else is at work.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        file, options, providers=['CPUExecutionProvider'])
    entry = session.get_inputs()[0]
    names = [output.name for output in session.get_outputs()]
    metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else None

    def run(inputs: Union[np.ndarray, dict]) -> Dict[str, np.ndarray]:
        feeds = inputs if isinstance(inputs, dict) else {entry.name: inputs}
        return dict(zip(names, session.run(names, feeds)))

    return Session(metadata, batch, run)


@functools.lru_cache(maxsize=None)
def openvino_core() -> Any:
    """Give all users in the process the same OpenVINO, which is never closed.

    Each ``openvino.Core`` gives its thread another stack for signal handlers.
    If two are closed in the order in which they were opened, OpenVINO 2026.4.1
    leaves the thread with one that was freed, and the next signal that Python
    handles kills the process: SIGCHLD after torch has loaded data in workers.

    Returns:
        openvino.Core: The core.
    """
    import openvino
    return openvino.Core()


def _open_openvino(file: str, threads: int) -> Session:
    import openvino
    core = openvino_core()
    model = core.read_model(file)
    if model.has_rt_info([BIN_KEY]):
        wanted = model.get_rt_info([BIN_KEY]).astype(str)
        if file_hash(file[:-4] + '.bin') != wanted:
            raise ValueError(f'{file[:-4]}.bin is not the file that it was '
                             'exported with; copy or export both again')
    size = model.input(0).get_partial_shape()[0]
    # Compiling would fill the memory.
    if size.is_static and not 0 < size.get_length() <= MAX_BATCH:
        raise ValueError(f'it takes {size.get_length()} crops at once, which '
                         f'cannot be (1 to {MAX_BATCH}); export it again')
    metadata = None
    # The latter is where OpenVINO puts an ONNX file's.
    for path in ([METADATA_KEY], ['framework', METADATA_KEY]):
        if model.has_rt_info(path):
            metadata = model.get_rt_info(path).astype(str)
    network = core.compile_model(
        model, 'CPU', {
            'INFERENCE_NUM_THREADS': threads,
            'INFERENCE_PRECISION_HINT': 'f32',
            'NUM_STREAMS': 1
        })
    # An output may have further names, of operators that were optimized away.
    names = [output.names for output in network.outputs]
    shape = network.input(0).get_partial_shape()
    dtype = network.input(0).get_element_type().to_dtype()
    request = network.create_infer_request()
    # Its inputs and outputs are the same for all threads.
    lock = threading.Lock()

    def run(inputs: Union[np.ndarray, dict]) -> Dict[str, np.ndarray]:
        if isinstance(inputs, np.ndarray):
            # OpenVINO takes others, too, and finds nobody or crashes.
            if inputs.dtype != dtype or not shape.compatible(
                    openvino.PartialShape(inputs.shape)):
                raise ValueError(f'the network takes {dtype} of shape {shape}'
                                 f', got {inputs.dtype} of {inputs.shape}')
            inputs = {0: inputs}
        outputs = {}
        with lock:
            request.infer(inputs)
            for i, aliases in enumerate(names):
                data = request.get_output_tensor(i).data.copy()
                outputs.update(dict.fromkeys(aliases, data))
        return outputs

    batch = shape[0].get_length() if shape[0].is_static else None
    return Session(metadata, batch, run)


def file_hash(file: str) -> str:
    """Compute the SHA-256 of a file.

    Args:
        file (str): The file.

    Returns:
        str: 64 hexadecimal digits.
    """
    with open(file, 'rb') as opened:
        return hashlib.sha256(opened.read()).hexdigest()


def check_image(image: np.ndarray) -> None:
    """Check that an image is one that networks here take.

    Args:
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        ValueError: If it is not.
    """
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8
            and image.ndim == 3 and image.shape[2] == 3 and image.size):
        found = type(image).__name__
        if isinstance(image, np.ndarray):
            found = f'{image.dtype} of shape {image.shape}'
        raise ValueError('the image must be a BGR array, uint8 of shape '
                         f'(H, W, 3), got {found}')


def as_boxes(
        boxes: Union[np.ndarray, Sequence[Sequence[float]]]) -> np.ndarray:
    """Check boxes of people.

    Args:
        boxes (np.ndarray): Boxes of at most ``MAX_PEOPLE`` people, (left,
            top, right, bottom) in pixels, of shape ``(M, 4)``.

    Returns:
        np.ndarray: The boxes, float32 if they were, else float64.

    Raises:
        ValueError: If they are not as described, or a coordinate is not
            finite or further than ``MAX_COORDINATE`` pixels away.
    """
    try:
        boxes = np.asarray(boxes)
    # Lists of different lengths, and classes with ideas of their own.
    except Exception as error:
        raise ValueError('boxes must be an array of shape (M, 4), got '
                         f'{type(boxes).__name__} ({error})') from error
    if boxes.shape in ((0, ), (0, 4)):
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes must have the shape (M, 4), got '
                         f'{boxes.shape}')
    if boxes.dtype.kind not in 'iuf':
        raise ValueError(f'boxes must be numbers, got {boxes.dtype}')
    if len(boxes) > MAX_PEOPLE:
        raise ValueError(f'{len(boxes):,} boxes are more than the '
                         f'{MAX_PEOPLE:,} that are taken of one image')
    # As MMPose, which computes in the precision of the boxes.
    if boxes.dtype != np.float32:
        boxes = boxes.astype(np.float64)
    # Of NaN, too.
    near = (np.abs(boxes) <= MAX_COORDINATE).all(1)
    wrong = ~(near & (boxes[:, 2:] > boxes[:, :2]).all(1))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f'box {i} is {boxes[i].tolist()}; boxes are (left, top, right, '
            'bottom) with a right above left and a bottom above top, at most '
            f'{MAX_COORDINATE:,} pixels away')
    return boxes


class PoseRuntime:
    """Key points of people in images, by an exported network.

    The file is not believed: its metadata are checked, and the network is run
    once to see that it computes what they say.

    Args:
        file (str): An .onnx or .xml file of ``lgm-pose export``.
        backend (str, optional): ``'onnxruntime'`` or ``'openvino'``. Defaults
            to ONNX Runtime for .onnx and OpenVINO for .xml files; OpenVINO
            runs both.
        threads (int): Threads the runtime may use. More than one beside other
            work can be far slower. Defaults to 1.

    Attributes:
        metadata (dict): What the file says of itself, see docs/export.md:
            ``keypoint_names``, ``skeleton``, ``input_size`` and so on.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If the file cannot be read, is not of ``lgm-pose export``
            or was altered, so that metadata and network disagree.

    Example:
        >>> import cv2
        >>> from lgm_pose_plugin.runtime import PoseRuntime
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
                 threads: int = 1):
        # Not above: quantize.check_runs runs this file by itself.
        from .exported_file import check_onnx, read_metadata
        self.file = str(file)
        if self.file.lower().endswith('.onnx') and osp.isfile(self.file):
            check_onnx(self.file, MAX_BATCH)
        self.session = open_session(self.file, backend, threads)
        if self.session.metadata is None:
            raise ValueError(
                f'{file} holds no metadata of lgm_pose_plugin; make it with '
                '`lgm-pose export`')
        self.metadata = read_metadata(self.session.metadata, self.file)
        self._check_network()

    def _check_network(self) -> None:
        """Run the network once and compare with the metadata."""
        width, height = self.metadata['input_size']
        try:
            outputs = self._run(np.zeros((1, height, width, 3), np.uint8))
        # Runtimes raise whatever a broken network leads them to.
        except Exception as error:
            raise ValueError(
                f'{self.file} does not take the crops its metadata tell, '
                f'{width}x{height}: {str(error)[:400]}. Export it again'
            ) from error
        self._check_outputs(outputs)

    def _check_outputs(self, outputs: Dict[str, np.ndarray]) -> None:
        """Check what one crop gave."""
        count = len(self.metadata['keypoint_names'])
        codec = self.metadata['codec']
        if self.metadata['decode']:
            wanted = dict(keypoints=(count, 2), scores=(count, ))
        elif codec['type'] == 'SimCCLabel':
            wanted = dict(simcc_x=(count, 0), simcc_y=(count, 0))
        elif _is_decodable(codec):
            wanted = dict(heatmaps=(count, 0, 0))
        else:
            return
        for name, shape in wanted.items():
            found = outputs[name].shape if name in outputs else 'nothing'
            # 0 stands for any size.
            if name not in outputs or len(found) != 1 + len(shape) or any(
                    one != other if other else not one
                    for one, other in zip(found, (1, *shape))):
                raise ValueError(
                    f'{self.file} has metadata of {count} key points and '
                    f'should compute {name} of shape {(1, *shape)} (0: any); '
                    f'it computes {found}. Export it again')
        self._check_finite(*(outputs[name] for name in wanted))

    def _check_finite(self, *values: np.ndarray) -> None:
        # NaN included, and OpenVINO's maximum of NaN, the lowest number.
        if not all((np.abs(value) < MAX_VALUE).all() for value in values):
            raise ValueError(
                f'{self.file} computes values that are not finite; its '
                'weights are broken. Export it again from a good checkpoint')

    def __call__(
        self,
        image: np.ndarray,
        boxes: Union[np.ndarray, Sequence[Sequence[float]], None] = None,
        flip_test: bool = False,
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Find the key points of the people in an image.

        Args:
            image (np.ndarray): BGR image of dtype uint8 and shape
                ``(H, W, 3)``, as ``cv2.imread`` returns it.
            boxes (np.ndarray, optional): Boxes of the M people, (left, top,
                right, bottom) in pixels, of shape ``(M, 4)``. ``None`` takes
                the whole image as one person; an empty one nobody. At most
                ``MAX_PEOPLE``, of which ``PEOPLE_AT_ONCE`` are one call of
                the network.
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
        check_image(image)
        centers, scales = self._centers_and_scales(image, boxes)
        results = [
            self.predict_crops(
                self._crops(image, centers[start:start + PEOPLE_AT_ONCE],
                            scales[start:start + PEOPLE_AT_ONCE]), flip_test)
            for start in range(0, max(1, len(centers)), PEOPLE_AT_ONCE)
        ]
        keypoints, scores = map(np.concatenate, zip(*results))
        # As TopdownPoseEstimator.add_pred_to_datasample.
        keypoints = (
            keypoints / self.metadata['input_size'] * scales[:, None] +
            centers[:, None] - 0.5 * scales[:, None])
        return keypoints.astype(np.float32), scores

    def crop(
        self,
        image: np.ndarray,
        boxes: Union[np.ndarray, Sequence[Sequence[float]], None] = None,
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        check_image(image)
        centers, scales = self._centers_and_scales(image, boxes)
        return self._crops(image, centers, scales), centers, scales

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
            found = type(crops).__name__
            if isinstance(crops, np.ndarray):
                found = f'{crops.dtype} of shape {crops.shape}'
            raise ValueError(f'the crops must be uint8 of shape (M, *{wanted})'
                             f', got {found}')
        if flip_test and self.metadata['decode']:
            raise ValueError(
                f'{self.file} returns key points, the flip test averages heat '
                'maps; export it with --no-decode for the flip test')
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
            for name, maps in self._flip_back(flipped).items():
                outputs[name] = (outputs[name] + maps) * np.float32(0.5)
        keypoints, scores = decode(outputs, self.metadata['codec'])
        self._check_finite(keypoints, scores)
        return keypoints, scores

    def _centers_and_scales(self, image: np.ndarray,
                            boxes) -> Tuple[np.ndarray, np.ndarray]:
        """Centres and padded sizes (w, h) of the boxes, each (M, 2)."""
        height, width = image.shape[:2]
        if boxes is None:
            boxes = np.array([[0, 0, width, height]], np.float32)
        boxes = as_boxes(boxes)
        sizes = (boxes[:, 2:] - boxes[:, :2]) * self.metadata['padding']
        centers = (boxes[:, 2:] + boxes[:, :2]) * 0.5
        # TopdownAffine._fix_aspect_ratio
        input_width, input_height = self.metadata['input_size']
        ratio = input_width / input_height
        w, h = sizes[:, :1], sizes[:, 1:]
        return centers, np.where(w > h * ratio, np.hstack([w, w / ratio]),
                                 np.hstack([h * ratio, h]))

    def _crops(self, image: np.ndarray, centers: np.ndarray,
               scales: np.ndarray) -> np.ndarray:
        """The crops of M people, of shape (M, H, W, 3)."""
        width, height = self.metadata['input_size']
        crops = np.empty((len(centers), height, width, 3), np.uint8)
        for crop, center, scale in zip(crops, centers, scales):
            crop[:] = self._crop(image, center, scale)
        return crops

    def _crop(self, image: np.ndarray, center: np.ndarray,
              scale: np.ndarray) -> np.ndarray:
        """The crop of a person, of shape (H, W, 3), as TopdownAffine."""
        width, height = self.metadata['input_size']
        if self.metadata['use_udp']:
            # get_udp_warp_matrix without rotation
            matrix = np.zeros((2, 3), np.float32)
            for axis, size in enumerate((width, height)):
                factor = (size - 1) / scale[axis]
                matrix[axis, axis] = factor
                matrix[axis, 2] = factor * (0.5 * scale[axis] - center[axis])
        else:
            # get_warp_matrix without rotation: the centre, the middle of the
            # left side, and the point a quarter turn from the former around
            # the latter
            source = np.zeros((3, 2), np.float32)
            source[0] = center
            source[1] = center + (-0.5 * scale[0], 0)
            source[2] = source[1] + (0, source[0, 0] - source[1, 0])
            target = np.float32([[0.5 * width, 0.5 * height],
                                 [0, 0.5 * height],
                                 [0, 0.5 * height + 0.5 * width]])
            matrix = cv2.getAffineTransform(source, target)
        # Of boxes without an extent that can be told.
        if not np.isfinite(matrix).all():
            raise ValueError(f'the box of size {scale.tolist()} around '
                             f'{center.tolist()} cannot be warped')
        try:
            return cv2.warpAffine(
                image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        # Of images too large for it: OpenCV 4 takes less than 32,767 pixels.
        except cv2.error as error:
            raise ValueError(
                'OpenCV cannot warp an image of '
                f'{image.shape[1]}x{image.shape[0]} pixels ({error}); make it '
                'smaller') from error

    def _run(self, crops: np.ndarray) -> Dict[str, np.ndarray]:
        """Run crops of shape (M, H, W, 3) through the network."""
        inputs = crops
        if not self.metadata['normalize']:
            inputs = normalize(crops, self.metadata)
        size = self.session.batch
        if size is None:
            outputs = self.session.run(inputs)
            for name, value in outputs.items():
                if value.shape[:1] != (len(crops), ):
                    raise ValueError(
                        f'{self.file} computes {name} of shape {value.shape} '
                        f'for {len(crops)} crops. Export it again')
            return outputs
        chunks = []
        for start in range(0, len(inputs), size):
            chunk = inputs[start:start + size]
            # A fixed batch is filled up with crops that nobody looks at.
            missing = size - len(chunk)
            if missing:
                chunk = np.concatenate(
                    [chunk, np.repeat(chunk[:1], missing, 0)])
            outputs = self.session.run(chunk)
            chunks.append({
                name: value[:size - missing]
                for name, value in outputs.items()
            })
        return {
            name: np.concatenate([chunk[name] for chunk in chunks])
            for name in chunks[0]
        }

    def _flip_back(self, outputs: Dict[str,
                                       np.ndarray]) -> Dict[str, np.ndarray]:
        """Undo the mirroring, as MMPose's flip_heatmaps and flip_vectors."""
        swapped = {
            name: value[:, self.metadata['flip_indices']]
            for name, value in outputs.items()
        }
        for name in ('heatmaps', 'simcc_x'):
            if name in swapped:
                swapped[name] = swapped[name][..., ::-1].copy()
        if 'heatmaps' in swapped and self.metadata['shift_heatmap']:
            maps = swapped['heatmaps']
            maps[..., 1:] = maps[..., :-1].copy()
        return swapped


def normalize(crops: np.ndarray, metadata: dict) -> np.ndarray:
    """What MMPose's data preprocessor makes of crops.

    Args:
        crops (np.ndarray): BGR crops, uint8 of shape ``(M, H, W, 3)``.
        metadata (dict): ``mean``, ``std`` and ``bgr_to_rgb``.

    Returns:
        np.ndarray: float32 of shape ``(M, 3, H, W)``.
    """
    if metadata['bgr_to_rgb']:
        crops = crops[..., ::-1]
    crops = (crops - np.float32(metadata['mean'])) / np.float32(
        metadata['std'])
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2))


def decode(outputs: Dict[str, np.ndarray],
           codec: dict) -> Tuple[np.ndarray, np.ndarray]:
    """What MMPose's codec decodes from the outputs of a network.

    Args:
        outputs (dict[str, np.ndarray]): ``heatmaps`` (or their logits) of
            shape ``(M, K, H, W)``, or ``simcc_x`` of shape ``(M, K, Wx)`` and
            ``simcc_y`` of shape ``(M, K, Wy)``.
        codec (dict): The codec's type and arguments.

    Returns:
        tuple[np.ndarray, np.ndarray]: Key points (x, y) in crop pixels, of
        shape ``(M, K, 2)``, and scores of shape ``(M, K)``. Where no value is
        above zero, the location is -1 bin.

    Raises:
        ValueError: If the codec is not SimCCLabel (without ``use_dark`` and
            ``decode_visibility``), MSRAHeatmap, UDPHeatmap (gaussian) or
            SoftmaxUDPHeatmap.
    """
    kind = codec['type']
    if not _is_decodable(codec):
        raise ValueError(
            f'the outputs of a network with the codec {kind} {codec} cannot '
            'be decoded here; use MMPose')
    if kind == 'SimCCLabel':
        vectors = outputs['simcc_x'], outputs['simcc_y']
        scores = np.minimum(*(vector.max(2) for vector in vectors))
        keypoints = np.stack([vector.argmax(2) for vector in vectors], 2)
        keypoints = np.where(scores[..., None] > 0, keypoints, -1)
        return np.float32(keypoints / codec['simcc_split_ratio']), scores
    softmax = kind == 'SoftmaxUDPHeatmap'
    gaussian = kind != 'MSRAHeatmap'
    heatmaps = outputs['heatmaps']
    if softmax:
        heatmaps = np.exp(heatmaps - heatmaps.max((2, 3), keepdims=True))
        heatmaps *= 2 * np.pi * codec['sigma']**2 / heatmaps.sum(
            (2, 3), keepdims=True)
    height, width = heatmaps.shape[2:]
    flat = heatmaps.reshape(*heatmaps.shape[:2], -1)
    index, scores = flat.argmax(2), flat.max(2)
    x, y = index % width, index // width
    # Of maps that are zero everywhere.
    with np.errstate(divide='ignore', invalid='ignore'):
        if gaussian:
            offset = _udp_offset(heatmaps, x, y, codec['blur_kernel_size'])
        elif codec['unbiased']:
            offset = _dark_offset(heatmaps, x, y, codec['blur_kernel_size'])
        else:
            offset = _quarter_offset(heatmaps, x, y)
    keypoints = np.where(scores[..., None] > 0,
                         np.stack([x, y], 2) + offset, -1)
    size = np.array([width, height]) - gaussian
    return np.float32(keypoints / size * codec['input_size']), scores


def _is_decodable(codec: dict) -> bool:
    """Whether :func:`decode` knows a codec."""
    if codec['type'] == 'SimCCLabel':
        return not (codec.get('use_dark') or codec.get('decode_visibility'))
    if codec['type'] == 'UDPHeatmap':
        return codec.get('heatmap_type') == 'gaussian'
    return codec['type'] in ('MSRAHeatmap', 'SoftmaxUDPHeatmap')


def _sampler(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> Callable:
    """A function of (dx, dy) that reads maps beside (M, K) locations."""
    people, keypoints = np.ogrid[:maps.shape[0], :maps.shape[1]]
    padded = np.pad(maps, ((0, 0), (0, 0), (2, 2), (2, 2)), mode='edge')
    return lambda dx, dy: padded[people, keypoints, y + 2 + dy, x + 2 + dx]


def _quarter_offset(heatmaps: np.ndarray, x: np.ndarray,
                    y: np.ndarray) -> np.ndarray:
    """A quarter pixel towards the larger neighbour: refine_keypoints."""
    height, width = heatmaps.shape[2:]
    at = _sampler(heatmaps, x, y)
    dx = np.sign(at(1, 0) - at(-1, 0))
    dy = np.sign(at(0, 1) - at(0, -1))
    dx = dx * ((x > 1) & (x < width - 1) & (y > 0))
    dy = dy * ((y > 1) & (y < height - 1) & (x > 0))
    return 0.25 * np.stack([dx, dy], 2)


def _dark_offset(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray,
                 kernel: int) -> np.ndarray:
    """The maximum of a second-order expansion: refine_keypoints_dark."""
    height, width = heatmaps.shape[2:]
    at = _sampler(np.log(_blur(heatmaps, kernel).clip(1e-10)), x, y)
    dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return _newton_step(at, dxx, dyy, dxy, inside)


def _udp_offset(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray,
                kernel: int) -> np.ndarray:
    """The same as UDP computes it: refine_keypoints_dark_udp."""
    at = _sampler(np.log(_blur(heatmaps, kernel).clip(1e-3, 50)), x, y)
    eps = np.finfo(np.float32).eps
    dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0) + eps
    dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1) + eps
    dxy = 0.5 * (
        at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) +
        at(-1, -1))
    return _newton_step(at, dxx, dyy, dxy, np.ones_like(x, bool))


def _newton_step(at: Callable, dxx: np.ndarray, dyy: np.ndarray,
                 dxy: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """-inverse(Hessian) @ gradient of shape (M, K, 2); 0 where not valid."""
    dx = 0.5 * (at(1, 0) - at(-1, 0))
    dy = 0.5 * (at(0, 1) - at(0, -1))
    determinant = dxx * dyy - dxy * dxy
    valid = valid & (determinant != 0)
    step = -np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], 2)
    step = step / np.where(valid, determinant, 1)[..., None]
    return step * valid[..., None]


def _blur(heatmaps: np.ndarray, kernel: int) -> np.ndarray:
    """Gaussian blur that keeps each map's maximum: gaussian_blur."""
    blurred = np.empty_like(heatmaps)
    border = (kernel - 1) // 2
    height, width = heatmaps.shape[2:]
    for index in np.ndindex(*heatmaps.shape[:2]):
        padded = np.pad(heatmaps[index], border)
        padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
        one = padded[border:border + height, border:border + width]
        blurred[index] = one * (heatmaps[index].max() / one.max())
    return blurred
