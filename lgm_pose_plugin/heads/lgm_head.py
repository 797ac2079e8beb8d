"""The heat-map head of LGM-Pose (arXiv 2506.04561)."""
from typing import Optional, Tuple, Union

from torch import Tensor

from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from mmpose.utils.typing import (ConfigType, Features, OptConfigType,
                                 OptMultiConfig, OptSampleList, Predictions)
from .keypoint_decoder import KeypointDecoder


@MODELS.register_module()
class LGMHead(HeatmapHead):
    """Heat-map head of `LGM-Pose <https://arxiv.org/abs/2506.04561>`_.

    MMPose's :class:`HeatmapHead` with one 1x1 convolution and no layers
    before it (the deconvolutions are in :class:`SFusionNeck`). After
    :meth:`switch_to_deploy` its ``forward`` returns key points and scores
    instead of heat maps, so that an exported graph needs no codec outside.

    Args:
        in_channels (int): Channels of the input map.
        out_channels (int): Number K of key points.
        loss (dict): Config of the key-point loss. Defaults to
            :class:`KeypointMSELoss` with target weights.
        decoder (dict, optional): Config of the codec that decodes heat maps.
            Defaults to ``None``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``, which means that of ``HeatmapHead``.

    Example:
        >>> import torch
        >>> head = LGMHead(112, 17, decoder=dict(type='MSRAHeatmap',
        ...     input_size=(192, 256), heatmap_size=(48, 64), sigma=2))
        >>> feats = (torch.rand(1, 112, 64, 48), )
        >>> tuple(head(feats).shape)
        (1, 17, 64, 48)
        >>> head.switch_to_deploy()
        >>> [tuple(out.shape) for out in head(feats)]
        [(1, 17, 2), (1, 17)]
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 *,
                 loss: ConfigType = dict(
                     type='KeypointMSELoss', use_target_weight=True),
                 decoder: OptConfigType = None,
                 init_cfg: OptMultiConfig = None):
        super().__init__(
            in_channels,
            out_channels,
            deconv_out_channels=None,
            loss=loss,
            decoder=decoder,
            init_cfg=init_cfg)
        self.keypoint_decoder: Optional[KeypointDecoder] = None

    def forward(self,
                feats: Tuple[Tensor]) -> Union[Tensor, Tuple[Tensor, Tensor]]:
        """Forward the head.

        Args:
            feats (tuple[Tensor]): Maps; the last one, of shape
                ``(B, in_channels, H, W)``, is used.

        Returns:
            Tensor or tuple[Tensor, Tensor]: Heat maps of shape
            ``(B, K, H, W)``; after :meth:`switch_to_deploy`, key points in
            input pixels, of shape ``(B, K, 2)``, and scores ``(B, K)``.
        """
        heatmaps = super().forward(feats)
        if self.keypoint_decoder is None:
            return heatmaps
        return self.keypoint_decoder(heatmaps)

    def switch_to_deploy(self, test_cfg: OptConfigType = None) -> None:
        """Make ``forward`` return key points and scores.

        MMPose's ``model.switch_to_deploy()`` calls this.

        Args:
            test_cfg (dict, optional): The model's ``test_cfg``. Flip test is
                not part of the graph, whatever it says. Defaults to ``None``.

        Raises:
            ValueError: If the head has no decoder, or one that cannot be
                written in tensor operations.
        """
        self.keypoint_decoder = KeypointDecoder(self.decoder).to(
            self.final_layer.weight.device)

    def predict(self,
                feats: Features,
                batch_data_samples: OptSampleList,
                test_cfg: ConfigType = {}) -> Predictions:
        """Predict data samples; see :meth:`HeatmapHead.predict`.

        Raises:
            RuntimeError: After :meth:`switch_to_deploy`.
        """
        if self.keypoint_decoder is not None:
            raise RuntimeError(
                'This LGMHead was switched to deploy mode, in which only '
                "mode='tensor' works; build the model anew to predict")
        return super().predict(feats, batch_data_samples, test_cfg)
