"""Distillation of heat maps (arXiv 1811.05419)."""
from typing import List, Optional

import torch
from mmpose.codecs import UDPHeatmap
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.utils.typing import SampleList
from torch import Tensor

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from lgm_pose_plugin.model_index import published_weights
from ..builder import build_model, last_maps, load_config


@MODELS.register_module()
class HeatmapDistiller(TopdownPoseEstimator):
    """Top-down estimator that learns from a teacher's heat maps, too.

    `Fast Human Pose Estimation <https://arxiv.org/abs/1811.05419>`_ adds the
    loss against the teacher's maps to the loss against the labels. Here the
    head gets the weighted mean of both targets instead. The gradient is the
    same for the losses of this plugin's networks: the squared error, and the
    cross-entropy (which weights either map by its sum). So any head that
    learns heat maps will do, also one of several stages.

    The student is this model itself. Its checkpoints hold no teacher and load
    with the config of the student alone. The teacher is opened at the first
    loss, and never for inference.

    Args:
        teacher_config (str): Config of the teacher, a top-down network with
            the student's key points, heat maps and normalization, see
            :func:`~lgm_pose_plugin.models.builder.load_config`.
        teacher_checkpoint (str, optional): Path or URL of the teacher's
            weights. Defaults to ``None``: the published weights of
            ``teacher_config``, a model of the plugin.
        teacher_weight (float): Weight of the teacher's maps, above 0 and at
            most 1. The labels have the rest. Defaults to 0.5.
        unlabelled_weight (float): Weight in the loss of the key points
            without a label, which are learnt from the teacher alone. Key
            points with a label have a weight of 1. Defaults to 0.
        **kwargs: Those of :class:`TopdownPoseEstimator`.

    Raises:
        ValueError: If a weight is out of range; from ``loss``, if the teacher
            does not fit the student.
        FileNotFoundError: From ``loss``, if there is no such checkpoint.

    Example:
        >>> from lgm_pose_plugin.models.builder import load_config
        >>> cfg = load_config(
        ...     'lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/coco/'
        ...     'td-hm_lgm-pose-distilled_8xb64-210e_coco-256x192.py')
        >>> student = MODELS.build(cfg.model)
        >>> maps = student(torch.rand(2, 3, 256, 192), None, mode='tensor')
        >>> tuple(maps.shape)
        (2, 17, 64, 48)
    """

    def __init__(self,
                 *,
                 teacher_config: str,
                 teacher_checkpoint: Optional[str] = None,
                 teacher_weight: float = 0.5,
                 unlabelled_weight: float = 0.,
                 **kwargs):
        super().__init__(**kwargs)
        if not 0 < teacher_weight <= 1:
            raise ValueError('teacher_weight must be above 0 and at most 1, '
                             f'got {teacher_weight}')
        if not unlabelled_weight >= 0:
            raise ValueError('unlabelled_weight must be at least 0, got '
                             f'{unlabelled_weight}')
        self.teacher_config = teacher_config
        self.teacher_checkpoint = teacher_checkpoint
        self.teacher_weight = teacher_weight
        self.unlabelled_weight = unlabelled_weight
        # In a list, the teacher is no part of the state dict.
        self._teacher: List[TopdownPoseEstimator] = []

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict:
        """Calculate losses from a batch of inputs and data samples.

        Args:
            inputs (Tensor): Images of shape ``(B, 3, H, W)``, normalized.
            data_samples (list[PoseDataSample]): The B samples; their heat
                maps become the mean with the teacher's, and their key points
                without a label get ``unlabelled_weight``.

        Returns:
            dict: The head's losses.
        """
        taught = self.teach(inputs)
        own, other = (
            list((meta or {}).get('flip_indices', ()))
            for meta in (data_samples[0].metainfo,
                         self._teacher[0].dataset_meta))
        if own and other and own != other:
            raise ValueError(
                f'the teacher {self.teacher_config} has other key points than '
                f'the student: its flip_indices are {other}, not {own}. '
                'Choose a teacher trained on the same data set')
        for sample, maps in zip(data_samples, taught):
            labelled = sample.gt_fields.heatmaps
            if labelled.shape != maps.shape:
                raise ValueError(
                    f'the teacher {self.teacher_config} makes heat maps of '
                    f'shape {tuple(maps.shape)} (K, H, W), but the student '
                    f'learns {tuple(labelled.shape)}. Choose a teacher with '
                    "the student's key points, input size and codec")
            no_label = labelled.amax((1, 2)) <= 0
            share = labelled.new_full(no_label.shape, self.teacher_weight)
            share[no_label] = float(self.unlabelled_weight > 0)
            sample.gt_fields.heatmaps = torch.lerp(labelled, maps,
                                                   share[:, None, None])
            labels = sample.gt_instance_labels
            labels.keypoint_weights = labels.keypoint_weights.masked_fill(
                no_label, self.unlabelled_weight)
        return super().loss(inputs, data_samples)

    @torch.no_grad()
    def teach(self, inputs: Tensor) -> Tensor:
        """Let the teacher make heat maps.

        Args:
            inputs (Tensor): Images of shape ``(B, 3, H, W)``, normalized.

        Returns:
            Tensor: Heat maps of shape ``(B, K, h, w)`` on the scale of
            targets, without negative values.
        """
        if not self._teacher:
            self._teacher.append(self._open_teacher())
        teacher = self._teacher[0].to(inputs.device)
        maps = last_maps(teacher(inputs, None, mode='tensor'))[-1].float()
        decoder = teacher.head.decoder
        if isinstance(decoder, SoftmaxUDPHeatmap):
            return decoder.to_heatmaps(maps)
        return maps.clamp(min=0)

    def _open_teacher(self) -> TopdownPoseEstimator:
        # Only here, since it imports all of MMPose's interfaces.
        from mmpose.apis.inference import dataset_meta_from_config
        cfg = load_config(self.teacher_config)
        # A resumed training opens it later and shall draw the same numbers.
        with torch.random.fork_rng(devices=[]):
            teacher: TopdownPoseEstimator = build_model(
                cfg, self.teacher_checkpoint
                or published_weights(self.teacher_config))
        teacher.dataset_meta = dataset_meta_from_config(cfg)
        # UDP's maps lie elsewhere than those of other codecs.
        own, other = ({
            'mean':
            getattr(inputs, 'mean', torch.empty(0)).flatten().tolist(),
            'std':
            getattr(inputs, 'std', torch.empty(0)).flatten().tolist(),
            'bgr_to_rgb':
            inputs._channel_conversion,
            'kind of codec':
            ('UDP' if isinstance(codec, UDPHeatmap) else 'without UDP')
        } for inputs, codec in ((model.data_preprocessor, model.head.decoder)
                                for model in (self, teacher)))
        for name, value in own.items():
            if value != other[name]:
                raise ValueError(
                    f'the teacher {self.teacher_config} has another {name} '
                    f'({other[name]}) than the student ({value}). Choose a '
                    'teacher with the same')
        return teacher.requires_grad_(False)
