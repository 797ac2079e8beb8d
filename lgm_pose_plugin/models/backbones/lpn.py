"""LPN, a lightweight ResNet for poses (arXiv 1911.10346)."""
from typing import Any, Sequence

from mmcv.cnn import ContextBlock, build_conv_layer
from mmpose.models.backbones.resnet import Bottleneck, ResNet
from mmpose.registry import MODELS
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class LightweightBottleneck(Bottleneck):
    """ResNet's bottleneck with a depthwise 3x3 convolution and global context.

    1x1 convolution, depthwise 3x3 convolution and 1x1 convolution, then
    GCNet's context block (`arXiv 1904.11492
    <https://arxiv.org/abs/1904.11492>`_), which adds to all pixels what an
    attention over the map has pooled, then the skip.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output, C. The context block has
            ``C // 16`` hidden channels, at least 16.
        **kwargs: Other arguments of MMPose's ``Bottleneck``.

    Example:
        >>> import torch
        >>> block = LightweightBottleneck(64, 64, expansion=1)
        >>> tuple(block(torch.rand(2, 64, 64, 48)).shape)
        (2, 64, 64, 48)
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any):
        super().__init__(in_channels, out_channels, **kwargs)
        self.conv2 = build_conv_layer(
            self.conv_cfg,
            self.mid_channels,
            self.mid_channels,
            kernel_size=3,
            stride=self.conv2_stride,
            padding=self.dilation,
            dilation=self.dilation,
            groups=self.mid_channels,
            bias=False)
        self.context_block = ContextBlock(
            out_channels,
            max(out_channels // 16, 16) / out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Forward the block.

        Args:
            x (Tensor): Map of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, out_channels, H / s, W / s)`` for a
            stride s.
        """

        def add(x: Tensor) -> Tensor:
            out = self.relu(self.norm1(self.conv1(x)))
            out = self.relu(self.norm2(self.conv2(out)))
            out = self.context_block(self.norm3(self.conv3(out)))
            return out + (x if self.downsample is None else self.downsample(x))

        if self.with_cp and x.requires_grad:
            return self.relu(checkpoint(add, x, use_reentrant=False))
        return self.relu(add(x))


@MODELS.register_module()
class LPN(ResNet):
    """Backbone of `LPN <https://arxiv.org/abs/1911.10346>`_.

    ResNet's layout with :class:`LightweightBottleneck`, whose output is no
    wider than its inside, and without the stride of the last stage. At
    256x192 input (HxW) and depth 50:

    =======  ========================  =======  ======  =====
    part     layers                    output   stride  size
    =======  ========================  =======  ======  =====
    stem     conv 7x7, BN, ReLU, pool  64       4       64x48
    layer1   3 blocks                  64       4       64x48
    layer2   4 blocks                  128      8       32x24
    layer3   6 blocks                  256      16      16x12
    layer4   3 blocks                  512      16      16x12
    =======  ========================  =======  ======  =====

    The layout follows the authors' repository, zhang943/lpn-pytorch.

    Args:
        depth (int): 50, 101 or 152.
        strides (Sequence[int]): Stride of each stage's first block. Defaults
            to ``(1, 2, 2, 1)``.
        expansion (int): Channels of a block's output per channel inside.
            Defaults to 1.
        **kwargs: Other arguments of MMPose's ``ResNet``.

    Example:
        >>> import torch
        >>> backbone = LPN(50)
        >>> [tuple(out.shape) for out in backbone(torch.rand(1, 3, 256, 192))]
        [(1, 512, 16, 12)]
    """

    arch_settings = {
        50: (LightweightBottleneck, (3, 4, 6, 3)),
        101: (LightweightBottleneck, (3, 4, 23, 3)),
        152: (LightweightBottleneck, (3, 8, 36, 3))
    }

    def __init__(self,
                 depth: int,
                 *,
                 strides: Sequence[int] = (1, 2, 2, 1),
                 expansion: int = 1,
                 **kwargs: Any):
        super().__init__(depth, strides=strides, expansion=expansion, **kwargs)

    def init_weights(self) -> None:
        """Initialize as ``ResNet`` does; the context blocks add 0 at first."""
        super().init_weights()
        if isinstance(self.init_cfg,
                      dict) and self.init_cfg['type'] == 'Pretrained':
            return
        for module in self.modules():
            if isinstance(module, ContextBlock):
                module.reset_parameters()
