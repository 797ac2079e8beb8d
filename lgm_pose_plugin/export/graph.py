"""The graph that is exported, and MMPose's results to compare it with."""
import inspect
import json
import os.path as osp
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models import TopdownPoseEstimator
from torch import Tensor, nn

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from lgm_pose_plugin.models.builder import last_maps
from lgm_pose_plugin.models.heads.keypoint_decoder import KeypointDecoder
from lgm_pose_plugin.models.heads.simcc_decoder import SimCCDecoder
from lgm_pose_plugin.runtime.metadata import FORMAT_VERSION
from lgm_pose_plugin.runtime.session import Session
from lgm_pose_plugin.version import __version__

# What rtmlib's classes do to crops: the numbers are those of R, G and B, the
# order of the channels is B, G and R.
RTMLIB = dict(
    bgr_to_rgb=False,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])
MAP_NAMES = ('heatmaps', 'simcc_x', 'simcc_y')


class ExportError(ValueError):
    """The exported file does not compute what MMPose computes."""


class ExportedNetwork(nn.Module):
    """A top-down network as its exported graph computes it.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, in eval mode.
        normalize (bool): Whether ``forward`` takes crops as OpenCV reads them
            and does what the data preprocessor does.
        decode (bool): Whether it returns key points and scores.

    Raises:
        ValueError: If the codec cannot be written in tensor operations.
    """

    def __init__(self, model: TopdownPoseEstimator, normalize: bool,
                 decode: bool) -> None:
        super().__init__()
        self.model = model
        self.normalize = normalize
        self.preprocess: Callable[[Tensor],
                                  Tensor] = partial(preprocess,
                                                    model.data_preprocessor)
        self.decoder: Optional[nn.Module] = None
        if decode:
            codec = model.head.decoder
            is_simcc = type(codec).__name__ == 'SimCCLabel'
            self.decoder = (SimCCDecoder if is_simcc else KeypointDecoder)(
                codec)
            # What it is given is no logits, see final_maps.
            self.decoder.to_heatmaps = nn.Identity()

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            images (Tensor): BGR crops, uint8 of shape ``(N, H, W, 3)``, or
                without ``normalize`` float32 of shape ``(N, 3, H, W)``.

        Returns:
            tuple[Tensor]: With ``decode`` first the key points in pixels of
            the crop, of shape ``(N, K, 2)``, and scores ``(N, K)``; then what
            :func:`final_maps` returns.
        """
        if self.normalize:
            images = self.preprocess(images)
        maps = final_maps(self.model, images)
        return maps if self.decoder is None else (*self.decoder(*maps), *maps)


def final_maps(model: TopdownPoseEstimator,
               inputs: Tensor) -> Tuple[Tensor, ...]:
    """Run a network for what a file holds: heat maps also where it has logits.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network.
        inputs (Tensor): What it takes, of shape ``(N, 3, H, W)``.

    Returns:
        tuple[Tensor]: See :func:`last_maps`; for :class:`SoftmaxUDPHeatmap`
        the heat maps on the scale of its targets.
    """
    maps = last_maps(model(inputs, None, mode='tensor'))
    codec = getattr(model.head, 'decoder', None)
    if isinstance(codec, SoftmaxUDPHeatmap):
        maps = tuple(map(codec.to_heatmaps, maps))
    return maps


def preprocess(processor: ImgDataPreprocessor, images: Tensor) -> Tensor:
    """Do what a data preprocessor does, in operations that can be exported.

    Args:
        processor (:obj:`ImgDataPreprocessor`): The data preprocessor.
        images (Tensor): BGR images, uint8 of shape ``(N, H, W, 3)``.

    Returns:
        Tensor: What the network takes, of shape ``(N, 3, H, W)``.
    """
    images = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
    return normalize(processor, images)


def normalize(processor: ImgDataPreprocessor, images: Tensor) -> Tensor:
    """Do what :func:`preprocess` does with float32 of shape (N, 3, H, W)."""
    if processor._channel_conversion:
        images = images[:, [2, 1, 0]]
    if processor._enable_normalize:
        images = (images - processor.mean) / processor.std
    return images


def from_rtmlib(processor: ImgDataPreprocessor, images: Tensor) -> Tensor:
    """Do what a data preprocessor does, with crops of rtmlib's classes.

    Args:
        processor (:obj:`ImgDataPreprocessor`): The data preprocessor.
        images (Tensor): BGR crops minus ``RTMLIB['mean']`` divided by
            ``RTMLIB['std']``, of shape ``(N, 3, H, W)``.

    Returns:
        Tensor: What the network takes, of shape ``(N, 3, H, W)``.
    """
    mean, std = (
        images.new_tensor(RTMLIB[key])[:, None, None]
        for key in ('mean', 'std'))
    return normalize(processor, images * std + mean)


def test_transforms(cfg: Config) -> Dict[str, Dict[str, Any]]:
    """List the transforms of a config's test pipeline.

    Args:
        cfg (Config): The config.

    Returns:
        dict[str, dict]: Their arguments by the name of their class, without
        a scope as in ``mmdet.Pad``.
    """
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    return {
        getattr(step['type'], '__name__', step['type']).split('.')[-1]: step
        for step in dataset.get('pipeline', [])
    }


def describe_input(cfg: Config, model: BaseModel,
                   normalize: bool) -> Dict[str, Any]:
    """Collect what the metadata of all files say.

    Args:
        cfg (Config): The config.
        model (:obj:`BaseModel`): Its network.
        normalize (bool): See :class:`ExportedNetwork`.

    Returns:
        dict: What made the file, and what its network takes.
    """
    processor = cfg.model.get('data_preprocessor', {})
    return dict(
        format_version=FORMAT_VERSION,
        plugin_version=__version__,
        config=osp.splitext(osp.basename(cfg.filename))[0],
        normalize=normalize,
        precision='float32',
        mean=processor.get('mean') or [0.] * 3,
        std=processor.get('std') or [1.] * 3,
        bgr_to_rgb=model.data_preprocessor._channel_conversion)


def describe(cfg: Config, model: TopdownPoseEstimator, normalize: bool,
             decode: bool) -> Dict[str, Any]:
    """Collect what a program needs to use the file.

    Args:
        cfg (Config): A top-down config.
        model (:obj:`TopdownPoseEstimator`): Its network.
        normalize (bool): See :class:`ExportedNetwork`.
        decode (bool): As ``normalize``.

    Returns:
        dict: The metadata, see docs/export.md, of JSON's types.

    Raises:
        ValueError: If the config's codec, test pipeline or data set is not
            one of a top-down network.
    """
    transforms = test_transforms(cfg)
    codec = getattr(model.head, 'decoder', None)
    meta = dataset_meta_from_config(cfg, 'test')
    test_cfg = model.test_cfg or {}
    for wrong, fault in (
        ('TopdownAffine' not in transforms,
         'the pipeline of its test data set has no transform TopdownAffine'),
        (not hasattr(codec, 'input_size'),
         'its model.head.decoder is not a codec with an input size'),
        (not meta, 'its test data set has no key points'),
        (test_cfg.get('output_keypoint_indices')
         is not None, 'a file cannot select key points, as its '
         'model.test_cfg.output_keypoint_indices does')):
        if wrong:
            raise ValueError(f'{cfg.filename} cannot be exported: {fault}')
    affine = transforms['TopdownAffine']
    arguments = inspect.signature(type(codec)).parameters
    metadata = dict(
        describe_input(cfg, model, normalize),
        input_size=affine['input_size'],
        decode=decode,
        padding=transforms.get('GetBBoxCenterScale', {}).get('padding', 1.25),
        use_udp=affine.get('use_udp', False),
        shift_heatmap=test_cfg.get('shift_heatmap', False),
        codec=dict(
            type=type(codec).__name__,
            **{
                name: getattr(codec, name)
                for name in arguments if hasattr(codec, name)
            }),
        keypoint_names=[
            meta['keypoint_id2name'][i] for i in range(meta['num_keypoints'])
        ],
        skeleton=meta['skeleton_links'],
        flip_indices=meta['flip_indices'],
        flip_pairs=[(i, j) for i, j in enumerate(meta['flip_indices'])
                    if i < j],
        sigmas=meta['sigmas'])
    plain: Dict[str, Any] = json.loads(
        json.dumps(metadata, default=lambda array: array.tolist()))
    return plain


def graph_inputs(model: TopdownPoseEstimator, batch: Dict[str, Any],
                 normalize: bool) -> np.ndarray:
    """Make what a graph takes out of crops.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, with its data
            preprocessor.
        batch (dict): N crops, see
            :func:`~lgm_pose_plugin.datasets.samples.pipeline_batch`.
        normalize (bool): See :class:`ExportedNetwork`.

    Returns:
        np.ndarray: The crops, uint8 of shape ``(N, H, W, 3)``, or without
        ``normalize`` float32 of shape ``(N, 3, H, W)``.
    """
    crops = (
        torch.stack(batch['inputs']).permute(0, 2, 3, 1)
        if normalize else model.data_preprocessor(batch, False)['inputs'])
    return np.ascontiguousarray(crops.numpy())


def reference_maps(model: TopdownPoseEstimator,
                   batch: Dict[str, Any]) -> List[np.ndarray]:
    """Run MMPose's preprocessor and network.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network.
        batch (dict): N crops, as :func:`graph_inputs` takes them.

    Returns:
        list[np.ndarray]: What :func:`final_maps` returns.
    """
    inputs = torch.from_numpy(graph_inputs(model, batch, False))
    with torch.no_grad():
        maps = final_maps(model, inputs)
    return [one.numpy() for one in maps]


def decode_maps(codec: Any,
                maps: Sequence[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
    """Decode with MMPose's codec.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        maps (Sequence[np.ndarray]): Heat maps of shape ``(N, K, H, W)``, or
            SimCC's two vectors, see :func:`final_maps`.

    Returns:
        tuple[np.ndarray, np.ndarray]: Key points in crop pixels, of shape
        ``(N, K, 2)``, and scores of shape ``(N, K)``.
    """
    if len(maps) == 2:
        # Some change them; some have visibilities beside the scores.
        keypoints, scores = codec.decode(*(one.copy() for one in maps))
        return keypoints, scores[0] if isinstance(scores, tuple) else scores
    decode = codec.decode
    if isinstance(codec, SoftmaxUDPHeatmap):
        decode = codec.decode_heatmaps
    keypoints, scores = zip(*(decode(one) for one in maps[0]))
    return np.concatenate(keypoints), np.concatenate(scores)


def split_batches(inputs: np.ndarray, size: int) -> List[np.ndarray]:
    """Cut inputs into batches.

    Args:
        inputs (np.ndarray): Inputs of shape ``(N, ...)``.
        size (int): The batch size. The last batch is filled up with the first
            inputs.

    Returns:
        list[np.ndarray]: The batches, each of shape ``(size, ...)``.
    """
    count = -(-len(inputs) // size)
    whole = np.resize(inputs, (count * size, *inputs.shape[1:]))
    return np.split(whole, count)


def run_session(session: Session, inputs: np.ndarray) -> Dict[str, np.ndarray]:
    """Run inputs in batches of a session's size, or in batches of two sizes.

    Args:
        session (Session): The session.
        inputs (np.ndarray): Inputs of shape ``(N, ...)``.

    Returns:
        dict[str, np.ndarray]: The outputs by name, N of each.
    """
    parts = ([inputs[:1], inputs[1:]] if session.batch is None else
             split_batches(inputs, session.batch))
    outputs = [session.run(part) for part in parts if len(part)]
    return {
        name: np.concatenate([output[name]
                              for output in outputs])[:len(inputs)]
        for name in outputs[0]
    }
