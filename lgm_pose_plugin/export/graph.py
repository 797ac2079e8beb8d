"""The graph that is exported, and MMPose's results to compare it with."""
import inspect
import json
import os.path as osp
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmpose.apis.inference import dataset_meta_from_config
from torch import Tensor, nn

from lgm_pose_plugin.datasets.samples import pipeline_batch
from lgm_pose_plugin.models.builder import last_maps
from lgm_pose_plugin.models.heads.keypoint_decoder import KeypointDecoder
from lgm_pose_plugin.models.heads.simcc_decoder import SimCCDecoder
from lgm_pose_plugin.runtime.metadata import FORMAT_VERSION
from lgm_pose_plugin.runtime.session import Session
from lgm_pose_plugin.version import __version__

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

    def __init__(self, model: nn.Module, normalize: bool, decode: bool):
        super().__init__()
        self.model = model
        self.normalize = normalize
        self.decoder = None
        if decode:
            codec = model.head.decoder
            is_simcc = type(codec).__name__ == 'SimCCLabel'
            self.decoder = (SimCCDecoder if is_simcc else KeypointDecoder)(
                codec)

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            images (Tensor): BGR crops, uint8 of shape ``(N, H, W, 3)``, or
                without ``normalize`` float32 of shape ``(N, 3, H, W)``.

        Returns:
            tuple[Tensor]: With ``decode`` first the key points in pixels of
            the crop, of shape ``(N, K, 2)``, and scores ``(N, K)``; then what
            :func:`last_maps` returns.
        """
        if self.normalize:
            processor = self.model.data_preprocessor
            images = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
            if processor._channel_conversion:
                images = images[:, [2, 1, 0]]
            if processor._enable_normalize:
                images = (images - processor.mean) / processor.std
        maps = last_maps(self.model(images, None, mode='tensor'))
        return maps if self.decoder is None else (*self.decoder(*maps), *maps)


def describe(cfg: Config, model: nn.Module, normalize: bool,
             decode: bool) -> Dict[str, Any]:
    """Collect what a user of the file must know.

    Args:
        cfg (Config): A top-down config.
        model (nn.Module): Its network.
        normalize (bool): See :class:`ExportedNetwork`.
        decode (bool): As ``normalize``.

    Returns:
        dict: The metadata, see docs/export.md, of JSON's types.

    Raises:
        ValueError: If the config's codec, test pipeline or data set is not
            one of a top-down network.
    """
    transforms = {
        getattr(step['type'], '__name__', step['type']): step
        for step in cfg.get('test_dataloader', {}).get('dataset', {}).get(
            'pipeline', [])
    }
    codec = getattr(model.head, 'decoder', None)
    meta = dataset_meta_from_config(cfg, 'test')
    for what, found in (('no transform TopdownAffine in the pipeline of its '
                         'test data set', 'TopdownAffine' in transforms),
                        ('no codec with an input size as model.head.decoder',
                         hasattr(codec, 'input_size')),
                        ('no data set with key points', meta)):
        if not found:
            raise ValueError(f'{cfg.filename} cannot be exported: {what}')
    test_cfg = model.test_cfg or {}
    if test_cfg.get('output_keypoint_indices') is not None:
        raise ValueError(
            f'{cfg.filename} cannot be exported: it selects key points with '
            'model.test_cfg.output_keypoint_indices, which a file cannot')
    affine = transforms['TopdownAffine']
    processor = cfg.model.get('data_preprocessor', {})
    arguments = inspect.signature(type(codec).__init__).parameters
    metadata = dict(
        format_version=FORMAT_VERSION,
        plugin_version=__version__,
        config=osp.splitext(osp.basename(cfg.filename))[0],
        input_size=affine['input_size'],
        normalize=normalize,
        decode=decode,
        precision='float32',
        mean=processor.get('mean') or [0.] * 3,
        std=processor.get('std') or [1.] * 3,
        bgr_to_rgb=model.data_preprocessor._channel_conversion,
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
        flip_pairs=sorted({
            tuple(sorted(pair))
            for pair in enumerate(meta['flip_indices']) if pair[0] != pair[1]
        }),
        sigmas=meta['sigmas'])
    return json.loads(json.dumps(metadata, default=lambda x: x.tolist()))


def graph_inputs(model: nn.Module, batch: dict, normalize: bool) -> np.ndarray:
    """Make what a graph takes out of crops.

    Args:
        model (nn.Module): The network, with its data preprocessor.
        batch (dict): N crops, see
            :func:`~lgm_pose_plugin.datasets.samples.pipeline_batch`.
        normalize (bool): See :class:`ExportedNetwork`.

    Returns:
        np.ndarray: The crops, uint8 of shape ``(N, H, W, 3)``, or without
        ``normalize`` float32 of shape ``(N, 3, H, W)``.
    """
    if not normalize:
        return model.data_preprocessor(batch, False)['inputs'].numpy()
    crops = torch.stack(batch['inputs']).permute(0, 2, 3, 1)
    return np.ascontiguousarray(crops.numpy())


class Reference(NamedTuple):
    """What MMPose makes of crops.

    Attributes:
        crops (np.ndarray): BGR crops, uint8 of shape ``(N, H, W, 3)``.
        inputs (np.ndarray): The network's inputs, float32 of shape
            ``(N, 3, H, W)``.
        maps (list[np.ndarray]): What :func:`last_maps` returns.
    """
    crops: np.ndarray
    inputs: np.ndarray
    maps: List[np.ndarray]


def reference(model: nn.Module, cfg: Config, raw: List[dict]) -> Reference:
    """Run MMPose's pipeline, preprocessor and network.

    Args:
        model (nn.Module): The network.
        cfg (Config): Its config.
        raw (list[dict]): The N samples the test pipeline starts from.

    Returns:
        Reference: The results.
    """
    batch = pipeline_batch(cfg, raw)
    crops, inputs = (graph_inputs(model, batch, i) for i in (True, False))
    with torch.no_grad():
        maps = last_maps(model(torch.from_numpy(inputs), None, mode='tensor'))
    return Reference(crops, inputs, [m.numpy() for m in maps])


def decode_maps(codec: Any,
                maps: Sequence[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
    """Decode with MMPose's codec.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        maps (Sequence[np.ndarray]): Heat maps of shape ``(N, K, H, W)``, or
            SimCC's two vectors.

    Returns:
        tuple[np.ndarray, np.ndarray]: Key points in crop pixels, of shape
        ``(N, K, 2)``, and scores of shape ``(N, K)``.
    """
    if len(maps) == 2:
        # Some change them; some have visibilities beside the scores.
        keypoints, scores = codec.decode(*(one.copy() for one in maps))
        return keypoints, scores[0] if isinstance(scores, tuple) else scores
    keypoints, scores = zip(*(codec.decode(one) for one in maps[0]))
    return np.concatenate(keypoints), np.concatenate(scores)


def run_session(session: Session, inputs: np.ndarray) -> Dict[str, np.ndarray]:
    """Run inputs in batches of a session's size, or as one and all others.

    Args:
        session (Session): The session. A fixed batch is filled up with the
            first inputs.
        inputs (np.ndarray): Inputs of shape ``(N, ...)``.

    Returns:
        dict[str, np.ndarray]: The outputs by name, N of each.
    """
    if session.batch is None:
        parts = [inputs[:1], inputs[1:]] if len(inputs) > 1 else [inputs]
    else:
        count = -(-len(inputs) // session.batch)
        whole = np.resize(inputs, (count * session.batch, *inputs.shape[1:]))
        parts = np.split(whole, count)
    outputs = [session.run(part) for part in parts]
    return {
        name: np.concatenate([output[name]
                              for output in outputs])[:len(inputs)]
        for name in outputs[0]
    }
