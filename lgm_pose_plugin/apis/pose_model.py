"""Key points of people in images, by a checkpoint through MMPose."""
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmpose.apis.inference import dataset_meta_from_config

from lgm_pose_plugin.models.builder import (build_model, choose_device,
                                            load_config)
from lgm_pose_plugin.runtime.pose_runtime import KeyPoints
from lgm_pose_plugin.runtime.preprocessing import as_boxes, check_image


class PoseModel:
    """A top-down network; its config says whether to average with the
    mirrored image.

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
        self._pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
        self.metadata = dict(
            keypoint_names=[
                meta['keypoint_id2name'][i]
                for i in range(meta['num_keypoints'])
            ],
            skeleton=meta['skeleton_links'])

    def predict_batch(self, images: Sequence[np.ndarray],
                      boxes: Sequence[np.ndarray]) -> List[KeyPoints]:
        """Find the key points of the people in several images, in one batch.

        What MMPose's ``inference_topdown`` finds in each of them.

        Args:
            images (Sequence[np.ndarray]): BGR, uint8 of shape ``(H, W, 3)``.
            boxes (Sequence[np.ndarray]): Of each image, boxes of the M
                people, (left, top, right, bottom) in pixels, of shape
                ``(M, 4)``.

        Returns:
            list[tuple[np.ndarray, np.ndarray]]: Of each image, key points
            (x, y) in its pixels, of shape ``(M, K, 2)``, and their scores, of
            shape ``(M, K)``.

        Raises:
            ValueError: If images or boxes are not as described.
        """
        people, counts = [], []
        for image, some in zip(images, boxes):
            check_image(image)
            some = as_boxes(some)
            counts.append(len(some))
            people += [
                self._pipeline(
                    dict(
                        img=image,
                        bbox=box[None],
                        bbox_score=np.ones(1, np.float32),
                        **self.model.dataset_meta)) for box in some
            ]
        num_keypoints = len(self.metadata['keypoint_names'])
        keypoints = [np.empty((0, num_keypoints, 2), np.float32)]
        scores = [np.empty((0, num_keypoints), np.float32)]
        if people:
            with torch.no_grad():
                samples = self.model.test_step(pseudo_collate(people))
            keypoints += [one.pred_instances.keypoints for one in samples]
            scores += [one.pred_instances.keypoint_scores for one in samples]
        ends = np.cumsum(counts)[:-1]
        return list(
            zip(
                np.split(np.concatenate(keypoints), ends),
                np.split(np.concatenate(scores), ends)))
