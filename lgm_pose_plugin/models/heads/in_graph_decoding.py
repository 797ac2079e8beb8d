"""Key points from a head's forward, for exported graphs."""
import functools
import sys
from contextlib import contextmanager
from typing import (Any, Callable, Iterator, List, Optional, Sequence, Tuple,
                    Union)

import torch
from mmpose.models.heads import BaseHead
from mmpose.models.losses import KeypointMSELoss
from mmpose.utils.typing import (ConfigType, Features, InstanceList,
                                 OptConfigType, OptSampleList, Predictions)
from torch import Tensor

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from ..losses import KeypointCrossEntropyLoss
from .keypoint_decoder import KeypointDecoder

_HALF = (torch.bfloat16, torch.float16)


def _uncompiled(method: Callable[..., Any]) -> Callable[..., Any]:
    """Keep ``torch.compile`` out of a method.

    MMPose decodes and computes the accuracy in NumPy. Compiling that takes
    minutes and gains nothing.
    """

    @functools.wraps(method)
    def wrapper(*args, **kwargs):
        # Only what compiles has imported it; that takes a second.
        if 'torch._dynamo' in sys.modules:
            return torch._dynamo.disable(method)(*args, **kwargs)
        return method(*args, **kwargs)

    return wrapper


class InGraphDecoding(BaseHead):
    """Mixin that lets a heat-map head of MMPose return key points.

    After :meth:`switch_to_deploy` the head's ``forward`` returns key points
    and scores instead of heat maps, so that an exported graph needs no codec
    outside. It goes before MMPose's head in the list of bases.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.keypoint_decoder: Optional[KeypointDecoder] = None
        losses = {type(module) for module in self.loss_module.modules()}
        is_softmax = isinstance(self.decoder, SoftmaxUDPHeatmap)
        wrong = KeypointMSELoss if is_softmax else KeypointCrossEntropyLoss
        if self.decoder is not None and wrong in losses:
            raise ValueError(
                f'{wrong.__name__} does not train what '
                f'{type(self.decoder).__name__} decodes: '
                'KeypointCrossEntropyLoss and SoftmaxUDPHeatmap go together; '
                'change model.head.loss, or the codec')

    def forward(
        self, feats: Sequence[Tensor]
    ) -> Union[Tensor, List[Tensor], Tuple[Tensor, Tensor]]:
        """Forward the head.

        Args:
            feats (Sequence[Tensor]): Maps, each of shape ``(B, C, H, W)``.

        Returns:
            Tensor or list[Tensor] or tuple[Tensor, Tensor]: Heat maps of
            shape ``(B, K, H, W)``, of every stage if there are several; after
            :meth:`switch_to_deploy`, key points in input pixels, of shape
            ``(B, K, 2)``, and scores ``(B, K)``, those of the last stage.
        """
        heatmaps = super().forward(feats)
        if self.keypoint_decoder is None:
            return heatmaps
        if not isinstance(heatmaps, Tensor):
            heatmaps = heatmaps[-1]
        self._check_size(heatmaps)
        return self.keypoint_decoder(heatmaps)

    def decode(self, batch_outputs: Tensor) -> InstanceList:
        """Decode heat maps of the decoder's size; see the base class.

        Raises:
            ValueError: If they are of another size.
        """
        self._check_size(batch_outputs)
        return super().decode(batch_outputs)

    def _check_size(self, heatmaps: Tensor) -> None:
        # Of None the base class complains.
        width, height = getattr(self.decoder, 'heatmap_size',
                                heatmaps.shape[:1:-1])
        # A tracer sees tensors here and would warn of a constant comparison.
        if not torch.jit.is_tracing() and heatmaps.shape[2:] != (height,
                                                                 width):
            raise ValueError(
                f'the heat maps are {heatmaps.shape[2]}x{heatmaps.shape[3]}, '
                f"the decoder's heatmap_size is {height}x{width} (HxW); set "
                "model.head.decoder to the codec of the pipelines' "
                'GenerateTarget')

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
        weight = next(self.parameters(), torch.empty(0))
        self.keypoint_decoder = KeypointDecoder(self.decoder).to(weight.device)

    @_uncompiled
    def predict(self,
                feats: Features,
                batch_data_samples: OptSampleList,
                test_cfg: ConfigType = {}) -> Predictions:
        """Predict data samples outside of autocast; see the base class.

        Heat maps that are asked for are on the scale of the targets.

        Raises:
            RuntimeError: After :meth:`switch_to_deploy`.
        """
        with self._outside_autocast(feats) as feats:
            predictions = super().predict(feats, batch_data_samples, test_cfg)
        if isinstance(self.decoder, SoftmaxUDPHeatmap) and test_cfg.get(
                'output_heatmaps', False):
            for field in predictions[1]:  # beside the instances
                field.heatmaps = self.decoder.to_heatmaps(field.heatmaps)
        return predictions

    @_uncompiled
    def loss(self,
             feats: Tuple[Tensor, ...],
             batch_data_samples: OptSampleList,
             train_cfg: ConfigType = {}) -> dict:
        """Compute losses outside of autocast; see the base class.

        Raises:
            RuntimeError: After :meth:`switch_to_deploy`.
        """
        with self._outside_autocast(feats) as feats:
            return super().loss(feats, batch_data_samples, train_cfg)

    @contextmanager
    def _outside_autocast(self, feats: Features) -> Iterator[Features]:
        """Leave autocast, with the features in the precision of the weights.

        Half precision has too few digits for coordinates, and NumPy, in which
        MMPose decodes and computes the accuracy, has no bfloat16.
        """
        if self.keypoint_decoder is not None:
            raise RuntimeError(
                f'This {type(self).__name__} was switched to deploy mode, in '
                "which only mode='tensor' works; build the model anew to "
                'train or to predict')
        dtype = next(self.parameters(), torch.empty(0)).dtype

        def convert(x):
            if not isinstance(x, Tensor):  # with a flip test, lists of them
                return type(x)(map(convert, x))
            return x.to(dtype) if x.dtype in _HALF else x

        first = feats[0] if isinstance(feats[0], Tensor) else feats[0][0]
        with torch.autocast(first.device.type, enabled=False):
            yield convert(feats)
