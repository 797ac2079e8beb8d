"""Convolution whose kernel is mixed anew for each image (Dite-HRNet)."""
from collections import OrderedDict
from typing import Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor
from torch.nn.modules.utils import _pair


@MODELS.register_module()
class DynamicConv2d(BaseModule):
    """Convolution with a mixture of kernels, weighted by the image.

    The dynamic kernel aggregation of `Dite-HRNet
    <https://arxiv.org/abs/2204.10762>`_: a squeeze of the whole map gives each
    of K kernels a weight between 0 and 1, and the map is convolved with their
    sum. mmcv's ``ConvModule`` builds it from
    ``conv_cfg=dict(type='DynamicConv2d', num_kernels=4)``. Weights are named
    as in the `published code <https://github.com/ZiyiZhang27/Dite-HRNet>`_.

    BatchNorm in the squeeze sees one value per image, so training needs two
    images or more in a batch.

    Args:
        in_channels (int): Channels of the map, I.
        out_channels (int): Channels of the output, O.
        kernel_size (int or tuple[int, int]): Size of the kernels.
        stride (int or tuple[int, int]): Defaults to 1.
        padding (int or tuple[int, int]): Defaults to 0.
        dilation (int or tuple[int, int]): Defaults to 1.
        groups (int): Defaults to 1.
        bias (bool): Must be ``False``: a BatchNorm follows.
        num_kernels (int): Number of kernels, K. Defaults to 4.
        reduction (int): The squeeze has ``I // reduction`` channels. Defaults
            to 4.
        norm_cfg (dict): Config of its normalization layer. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Raises:
        ValueError: If ``bias`` is ``True``.

    Example:
        >>> import torch
        >>> layer = DynamicConv2d(16, 16, 3, padding=1, groups=16)
        >>> tuple(layer(torch.rand(2, 16, 64, 48)).shape)
        (2, 16, 64, 48)
    """

    # ConvModule asks for these.
    transposed = False
    output_padding = (0, 0)

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: Union[int, Tuple[int, int]],
                 stride: Union[int, Tuple[int, int]] = 1,
                 padding: Union[int, Tuple[int, int]] = 0,
                 dilation: Union[int, Tuple[int, int]] = 1,
                 groups: int = 1,
                 bias: bool = False,
                 num_kernels: int = 4,
                 reduction: int = 4,
                 norm_cfg: ConfigType = dict(type='BN'),
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        if bias:
            raise ValueError('DynamicConv2d has no bias; set bias=False or '
                             'give its ConvModule a norm_cfg')
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.num_kernels = num_kernels
        squeezed = max(in_channels // reduction, 1)
        self.attention = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                conv1=nn.Conv2d(in_channels, squeezed, 1, bias=False),
                bn=build_norm_layer(norm_cfg, squeezed)[1],
                relu=nn.ReLU(),
                conv2=nn.Conv2d(squeezed, num_kernels, 1),
                sigmoid=nn.Sigmoid(),
                flatten=nn.Flatten()))
        kernels = torch.empty(num_kernels, out_channels, in_channels // groups,
                              *self.kernel_size)
        for kernel in kernels:
            nn.init.kaiming_uniform_(kernel)
        self.kernel_shape = kernels.shape[2:]  # (I / groups, k, k)
        # Flat, as no memory format has a meaning for five dimensions.
        self.aggregation = nn.ParameterDict(dict(weight=kernels.flatten(1)))
        self._register_load_state_dict_pre_hook(self._flatten_kernels)

    @staticmethod
    def _flatten_kernels(state_dict: dict, prefix: str, *args) -> None:
        """Flatten the kernels of the published code, of five dimensions."""
        key = prefix + 'aggregation.weight'
        if key in state_dict:
            state_dict[key] = state_dict[key].flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each image with its own kernel.

        Args:
            x (Tensor): Map of shape ``(B, I, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, O, H / stride, W / stride)``.
        """
        attention = self.attention(x)  # (B, K)
        weight = self.aggregation['weight']  # (K, O * I / groups * k * k)
        if torch.onnx.is_in_onnx_export():
            return self._mix_outputs(x, attention, weight)
        kernels = (attention @ weight).reshape(-1, *self.kernel_shape)
        # The images of the batch become groups of one image.
        out = F.conv2d(
            x.reshape(1, -1, *x.shape[2:]), kernels, None, self.stride,
            self.padding, self.dilation, self.groups * len(x))
        return out.reshape(len(x), -1, *out.shape[2:])

    def _mix_outputs(self, x: Tensor, attention: Tensor,
                     weight: Tensor) -> Tensor:
        """The same, as a mixture of K convolutions with constant kernels.

        A graph of ONNX has fixed groups, so it could not leave the batch size
        open otherwise.
        """
        stacked = weight.unflatten(1, (self.out_channels, *self.kernel_shape))
        stacked = stacked.transpose(0, 1)  # (O, K, I / groups, k, k)
        out = F.conv2d(x, stacked.flatten(0, 1), None, self.stride,
                       self.padding, self.dilation, self.groups)
        out = out.unflatten(1, (self.out_channels, self.num_kernels))
        return (out * attention[:, None, :, None, None]).sum(2)
