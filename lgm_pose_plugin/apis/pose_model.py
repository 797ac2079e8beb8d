"""Key points of people in images, by a checkpoint through MMPose."""
from typing import Any, Dict, Optional, Tuple

import numpy as np
from mmpose.apis import inference_topdown
from mmpose.apis.inference import dataset_meta_from_config

from lgm_pose_plugin.models.builder import (build_model, choose_device,
                                            load_config)
from lgm_pose_plugin.runtime.preprocessing import as_boxes, check_image


class PoseModel:
    """A top-down network, called as
    :class:`~lgm_pose_plugin.runtime.PoseRuntime` is; its config says whether
    to average with the mirrored image.

    Args:
        config (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.
        checkpoint (str): Path or URL of the weights.
        device (str, optional): See
            :func:`~lgm_pose_plugin.models.builder.choose_device`.
        cfg_options (dict, optional): Options of the config.

    Attributes:
        metadata (dict): ``keypoint_names`` and ``skeleton`` (pairs of
            indices), as in a file of ``lgm-pose export``.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the config is not top-down, or the checkpoint is
            broken or of another network, or the device cannot be used.
    """

    def __init__(self,
                 config: str,
                 checkpoint: str,
                 device: Optional[str] = None,
                 cfg_options: Optional[Dict[str, Any]] = None):
        cfg = load_config(config, cfg_options)
        self.model: Any = build_model(cfg,
                                      checkpoint).to(choose_device(device))
        meta = dataset_meta_from_config(cfg, 'test')
        if meta is None:
            raise ValueError(f'{cfg.filename} names no data set with key '
                             'points as test_dataloader.dataset')
        # As init_model, which loads any checkpoint without a word.
        self.model.cfg, self.model.dataset_meta = cfg, meta
        self.metadata = dict(
            keypoint_names=[
                meta['keypoint_id2name'][i]
                for i in range(meta['num_keypoints'])
            ],
            skeleton=meta['skeleton_links'])

    def __call__(self, image: np.ndarray,
                 boxes: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Find the key points of the people in an image, in one batch.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
            boxes (np.ndarray): Boxes of the M people, (left, top, right,
                bottom) in pixels, of shape ``(M, 4)``.

        Returns:
            tuple[np.ndarray, np.ndarray]: Key points (x, y) in image pixels,
            of shape ``(M, K, 2)``, and their scores, of shape ``(M, K)``.

        Raises:
            ValueError: If image or boxes are not as described.
        """
        check_image(image)
        boxes = as_boxes(boxes)
        # MMPose would take the whole image.
        if not len(boxes):
            num_keypoints = len(self.metadata['keypoint_names'])
            return (np.empty((0, num_keypoints, 2), np.float32),
                    np.empty((0, num_keypoints), np.float32))
        samples = inference_topdown(self.model, image, boxes)
        results = [sample.pred_instances for sample in samples]
        return (np.concatenate([one.keypoints for one in results]),
                np.concatenate([one.keypoint_scores for one in results]))
