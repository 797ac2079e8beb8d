"""mmcv's compiled operators, computed by torchvision.

``mmcv._ext`` is made from this file where mmcv has no operators of its own.
The functions have the parameters of mmcv's C++ functions: ``mmcv.ops`` passes
options by keyword and hands over the tensors to fill, ``output``, ``argmax``
and ``grad_*``. The results are mmcv's, on CPUs and GPUs. An operator that is
missing here raises an error when it is called.
"""
import functools
from typing import Any, Callable, Iterator, Sequence, Tuple

import numpy as np
import torch
import torchvision.ops
from torch import Tensor

# Helpers


def _gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor],
               grad_output: Tensor) -> Tuple[Tensor, ...]:
    """Differentiate a function by its inputs; this computes it again."""
    with torch.enable_grad():
        inputs = [value.detach().requires_grad_() for value in inputs]
        return torch.autograd.grad(function(*inputs), inputs, grad_output)


# Non-maximum suppression


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float,
        offset: int) -> Tensor:
    """Remove boxes that overlap with a box of a higher score.

    Args:
        boxes (Tensor): Boxes x1, y1, x2, y2 in pixels, of shape (N, 4).
        scores (Tensor): Their scores, of shape (N, ).
        iou_threshold (float): The largest IoU of boxes that stay.
        offset (int): Pixels to add to widths and heights.

    Returns:
        Tensor: Indices of the boxes that stay, by falling score.
    """
    # mmcv's order of equal scores, which torchvision's sort does not change.
    order = scores.sort(descending=True)[1]
    ranks = torch.arange(len(order), 0, -1, device=order.device)
    boxes = boxes[order].float()
    boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # mmcv's threshold has single precision.
    return order[torchvision.ops.nms(boxes, ranks.to(boxes),
                                     float(np.float32(iou_threshold)))]


def softnms(boxes: Tensor, scores: Tensor, dets: Tensor, iou_threshold: float,
            sigma: float, min_score: float, method: int,
            offset: int) -> Tensor:
    """Lower the scores of boxes that overlap with a box of a higher score.

    Args:
        boxes (Tensor): Boxes x1, y1, x2, y2 in pixels, of shape (N, 4), on
            the CPU.
        scores (Tensor): Their scores, of shape (N, ).
        dets (Tensor): Its first K rows are filled with the boxes that stay
            and their new scores, of shape (N, 5).
        iou_threshold (float): IoU from which a score falls (methods 0, 1).
        sigma (float): Width of the Gaussian (method 2).
        min_score (float): Lowest score of a box that stays.
        method (int): 0 for naive, 1 for linear, 2 for Gaussian.
        offset (int): Pixels to add to widths and heights.

    Returns:
        Tensor: Indices of the K boxes that stay.
    """
    rest = torch.cat((boxes, scores[:, None]), dim=1).detach().numpy()
    areas = np.prod(rest[:, 2:4] - rest[:, :2] + offset, axis=1)
    indices = np.arange(len(rest))
    done, end = 0, len(rest)
    while done < end:
        best = done + rest[done:end, 4].argmax()
        for values in (rest, areas, indices):
            values[[done, best]] = values[[best, done]]
        box, others = rest[done], rest[done + 1:end]
        low = np.maximum(box[:2], others[:, :2])
        high = np.minimum(box[2:4], others[:, 2:4])
        shared = np.prod((high - low + offset).clip(0), axis=1)
        iou = shared / (areas[done] + areas[done + 1:end] - shared)
        if method == 2:
            others[:, 4] *= np.exp(-(iou * iou) / sigma)
        else:
            weight = 1 - iou if method == 1 else 0
            others[:, 4] *= np.where(iou >= iou_threshold, weight, 1)
        done += 1
        # mmcv fills gaps from the end: of equal scores the first is taken.
        stay = ~(others[:, 4] < min_score)
        kept = np.count_nonzero(stay)
        gaps = done + np.flatnonzero(~stay[:kept])
        moved = done + kept + np.flatnonzero(stay[kept:])[::-1]
        for values in (rest, areas, indices):
            values[gaps] = values[moved]
        end = done + kept
    dets[:end] = torch.from_numpy(rest[:end])
    return torch.from_numpy(indices[:end])


# Regions of interest


def _samples_by_bin(input: Tensor, rois: Tensor, size: Tuple[int, int],
                    spatial_scale: float, sampling_ratio: int,
                    aligned: bool) -> Iterator[Tuple[Tensor, Tensor]]:
    """Sample RoIs, each time those with the same number of samples.

    Yields:
        tuple[Tensor, Tensor]: A mask of RoIs, of shape (R, ), and the samples
        of each of their bins, of shape (r, C, height, width, samples).
    """
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0)
    extents = (corners[:, 2:] - corners[:, :2]).flip(1)
    if not aligned:
        extents = extents.clamp(min=1)
    grids = (extents / extents.new_tensor(size)).ceil().int()
    if sampling_ratio > 0:
        grids.fill_(sampling_ratio)
    height, width = size
    for rows, columns in {(rows, columns) for rows, columns in grids.tolist()}:
        if rows > 0 and columns > 0:
            mask = (grids == grids.new_tensor((rows, columns))).all(dim=1)
            # Bins so small that each holds one sample.
            samples = torchvision.ops.roi_align(
                input, rois[mask], (height * rows, width * columns),
                spatial_scale, 1, aligned)
            samples = samples.unflatten(3, (width, columns)).unflatten(
                2, (height, rows))
            yield mask, samples.transpose(3, 4).flatten(4)


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor,
                      argmax_y: Tensor, argmax_x: Tensor, aligned_height: int,
                      aligned_width: int, spatial_scale: float,
                      sampling_ratio: int, pool_mode: int,
                      aligned: bool) -> None:
    """Pool regions by averages or maxima of interpolated samples.

    Args:
        input (Tensor): Feature maps, of shape (N, C, H, W).
        rois (Tensor): Index of the map, x1, y1, x2, y2, of shape (R, 5).
        output (Tensor): Filled, of shape (R, C, height, width).
        argmax_y (Tensor): Filled with the index of each bin's largest sample
            (pool mode 0), of the output's shape.
        argmax_x (Tensor): Not used.
        aligned_height (int): Height of the output.
        aligned_width (int): Width of the output.
        spatial_scale (float): Scale from the RoIs to the maps.
        sampling_ratio (int): Samples per bin on each axis, 0 for one sample
            per pixel.
        pool_mode (int): 0 for maxima, 1 for averages.
        aligned (bool): Whether to shift RoIs by half a pixel.
    """
    size = (aligned_height, aligned_width)
    if pool_mode == 1:
        output.copy_(
            torchvision.ops.roi_align(input, rois, size, spatial_scale,
                                      sampling_ratio, aligned))
        return
    output.fill_(-10000)  # as mmcv does for bins without samples
    for mask, samples in _samples_by_bin(input, rois, size, spatial_scale,
                                         sampling_ratio, aligned):
        output[mask], indices = samples.max(dim=4)
        argmax_y[mask] = indices.to(argmax_y)


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor,
                       argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int,
                       spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Fill ``grad_input``; the others are those of the forward function."""
    size = (aligned_height, aligned_width)

    def pool(input: Tensor) -> Tensor:
        if pool_mode == 1:
            return torchvision.ops.roi_align(input, rois, size, spatial_scale,
                                             sampling_ratio, aligned)
        output = torch.zeros_like(grad_output) + 0 * input.sum()
        for mask, samples in _samples_by_bin(input, rois, size, spatial_scale,
                                             sampling_ratio, aligned):
            indices = argmax_y[mask].long().unsqueeze(4)
            output[mask] = samples.gather(4, indices).squeeze(4)
        return output

    # Linear in its input, whose values do not matter.
    grad_input.copy_(_gradients(pool, [grad_input], grad_output)[0])


def roi_pool_forward(input: Tensor, rois: Tensor, output: Tensor,
                     argmax: Tensor, pooled_height: int, pooled_width: int,
                     spatial_scale: float) -> None:
    """Pool regions by maxima of pixels.

    Args:
        input (Tensor): Feature maps, of shape (N, C, H, W).
        rois (Tensor): Index of the map, x1, y1, x2, y2, of shape (R, 5).
        output (Tensor): Filled, of shape (R, C, height, width).
        argmax (Tensor): Filled with the index of each bin's largest pixel,
            -1 for bins without pixels, of the output's shape.
        pooled_height (int): Height of the output.
        pooled_width (int): Width of the output.
        spatial_scale (float): Scale from the RoIs to the maps.
    """
    start = rois[:, 1:3] * spatial_scale
    extent = (rois[:, 3:] + 1) * spatial_scale - start

    def bins(axis: int, number: int) -> Tuple[Tensor, Tensor]:
        """First pixel of each bin and the first one after it, (R, number)."""
        steps = torch.arange(number + 1, device=rois.device)
        edges = steps * (extent[:, axis, None] / number) + start[:, axis, None]
        length = input.size(3 - axis)
        return (edges[:, :-1].floor().clamp(0, length),
                edges[:, 1:].ceil().clamp(0, length))

    left, right = (x[:, None, :] for x in bins(0, pooled_width))
    top, bottom = (y[:, :, None] for y in bins(1, pooled_height))
    # torchvision rounds RoIs otherwise than mmcv: give it every bin as a RoI.
    regions = torch.stack(
        torch.broadcast_tensors(rois[:, :1, None], left, top, right - 1,
                                bottom - 1),
        dim=-1)  # (R, height, width, 5)
    empty = ((left >= right) | (top >= bottom)
             | (extent <= 0).any(dim=1)[:, None, None])[:, None]
    found = torch.ops.torchvision.roi_pool(input, regions.view(-1, 5), 1., 1,
                                           1)
    # (R * height * width, C, 1, 1) -> (R, C, height, width)
    maxima, indices = (
        value.view(*regions.shape[:3], input.size(1)).permute(0, 3, 1, 2)
        for value in found)
    output.copy_(maxima.masked_fill(empty, 0))
    argmax.copy_(indices.masked_fill(empty, -1))


def roi_pool_backward(grad_output: Tensor, rois: Tensor, argmax: Tensor,
                      grad_input: Tensor, **options: Any) -> None:
    """Fill ``grad_input``; the others are those of the forward function."""
    channels = torch.arange(grad_input.size(1), device=rois.device)
    maps = rois[:, :1].long() * grad_input.size(1) + channels  # (R, C)
    pixels = maps[:, :, None, None] * grad_input[0, 0].numel() + argmax
    grad_input.view(-1).index_add_(0, pixels[argmax >= 0],
                                   grad_output[argmax >= 0])


# Deformable convolution


def _deform_conv2d(dW: int, dH: int, padW: int, padH: int, dilationW: int,
                   dilationH: int, **options: Any) -> Callable[..., Tensor]:
    """torchvision's function, which finds the other options by shapes."""
    return functools.partial(
        torchvision.ops.deform_conv2d,
        stride=(dH, dW),
        padding=(padH, padW),
        dilation=(dilationH, dilationW))


def deform_conv_forward(input: Tensor, weight: Tensor, offset: Tensor,
                        output: Tensor, columns: Tensor, ones: Tensor,
                        **options: Any) -> None:
    """Convolve feature maps at shifted pixels.

    Args:
        input (Tensor): Feature maps, of shape (N, C, H, W).
        weight (Tensor): Weights, of shape (D, C / groups, kH, kW).
        offset (Tensor): Offsets y, x of pixels, of shape
            (N, deform_groups * kH * kW * 2, h, w).
        output (Tensor): Filled, of shape (N, D, h, w).
        columns (Tensor): Not used.
        ones (Tensor): Not used.
        **options: Stride, padding and dilation.
    """
    output.copy_(_deform_conv2d(**options)(input, offset, weight))


def deform_conv_backward_input(input: Tensor, offset: Tensor,
                               grad_output: Tensor, grad_input: Tensor,
                               grad_offset: Tensor, weight: Tensor,
                               columns: Tensor, **options: Any) -> None:
    """Fill ``grad_input`` and ``grad_offset``, see the forward function."""
    convolve = _deform_conv2d(**options)
    found = _gradients(lambda input, offset: convolve(input, offset, weight),
                       [input, offset], grad_output)
    grad_input.copy_(found[0])
    grad_offset.copy_(found[1])


def deform_conv_backward_parameters(input: Tensor, offset: Tensor,
                                    grad_output: Tensor, grad_weight: Tensor,
                                    columns: Tensor, ones: Tensor,
                                    scale: float, **options: Any) -> None:
    """Fill ``grad_weight``, ``scale`` times, see the forward function."""
    convolve = _deform_conv2d(**options)
    # Linear in the weights, whose values do not matter.
    found, = _gradients(lambda weight: convolve(input, offset, weight),
                        [grad_weight], grad_output)
    grad_weight.copy_(found * scale)


def _modulated_deform_conv2d(stride_h: int, stride_w: int, pad_h: int,
                             pad_w: int, dilation_h: int, dilation_w: int,
                             with_bias: bool,
                             **options: Any) -> Callable[..., Tensor]:
    """torchvision's function, in mmcv's order of tensors."""

    def convolve(input: Tensor, weight: Tensor, bias: Tensor, offset: Tensor,
                 mask: Tensor) -> Tensor:
        output = torchvision.ops.deform_conv2d(
            input,
            offset,
            weight,
            bias if with_bias else None,
            stride=(stride_h, stride_w),
            padding=(pad_h, pad_w),
            dilation=(dilation_h, dilation_w),
            mask=mask)
        return output if with_bias else output + bias.sum()

    return convolve


def modulated_deform_conv_forward(input: Tensor, weight: Tensor, bias: Tensor,
                                  ones: Tensor, offset: Tensor, mask: Tensor,
                                  output: Tensor, columns: Tensor,
                                  **options: Any) -> None:
    """Convolve feature maps at shifted and weighted pixels.

    Args:
        input (Tensor): Feature maps, of shape (N, C, H, W).
        weight (Tensor): Weights, of shape (D, C / groups, kH, kW).
        bias (Tensor): Biases, of shape (D, ) or (0, ).
        ones (Tensor): Not used.
        offset (Tensor): Offsets y, x of pixels, of shape
            (N, deform_groups * kH * kW * 2, h, w).
        mask (Tensor): Weights of pixels, of shape
            (N, deform_groups * kH * kW, h, w).
        output (Tensor): Filled, of shape (N, D, h, w).
        columns (Tensor): Not used.
        **options: Stride, padding, dilation, and whether there are biases.
    """
    convolve = _modulated_deform_conv2d(**options)
    output.copy_(convolve(input, weight, bias, offset, mask))


def modulated_deform_conv_backward(input: Tensor, weight: Tensor, bias: Tensor,
                                   ones: Tensor, offset: Tensor, mask: Tensor,
                                   columns: Tensor, grad_input: Tensor,
                                   grad_weight: Tensor, grad_bias: Tensor,
                                   grad_offset: Tensor, grad_mask: Tensor,
                                   grad_output: Tensor,
                                   **options: Any) -> None:
    """Fill all ``grad_*`` but the last, see the forward function."""
    filled = (grad_input, grad_weight, grad_bias, grad_offset, grad_mask)
    found = _gradients(
        _modulated_deform_conv2d(**options),
        [input, weight, bias, offset, mask], grad_output)
    for gradient, value in zip(filled, found):
        gradient.copy_(value)


# Focal loss


def _sigmoid_focal_loss(input: Tensor, target: Tensor, weight: Tensor,
                        gamma: float, alpha: float) -> Tensor:
    classes = torch.arange(input.size(1), device=input.device)
    loss = torchvision.ops.sigmoid_focal_loss(
        input, (target[:, None] == classes).to(input), alpha, gamma)
    return loss * weight[target, None] if weight.numel() else loss


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor,
                               output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Weigh the cross entropy by how wrong the classification is.

    Args:
        input (Tensor): Logits, of shape (N, C).
        target (Tensor): Classes, C for none, of shape (N, ).
        weight (Tensor): Weights of the classes, of shape (C, ) or (0, ).
        output (Tensor): Filled, of shape (N, C).
        gamma (float): Exponent of the error.
        alpha (float): Weight of the true class, 1 - alpha of all others.
    """
    output.copy_(_sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor,
                                grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Fill ``grad_input``, of the output's sum, see the forward function."""
    found, = _gradients(
        lambda input: _sigmoid_focal_loss(input, target, weight, gamma, alpha),
        [input], torch.ones_like(input))
    grad_input.copy_(found)


# Attention


def _ms_deform_attn(spatial_shapes: Tensor) -> Callable[..., Tensor]:
    from mmcv.ops.multi_scale_deform_attn import \
        multi_scale_deformable_attn_pytorch

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return multi_scale_deformable_attn_pytorch(value, spatial_shapes,
                                                   locations, weights)

    return attend


def ms_deform_attn_forward(value: Tensor, spatial_shapes: Tensor,
                           level_start_index: Tensor, locations: Tensor,
                           weights: Tensor, im2col_step: int) -> Tensor:
    """Sum values at sampled locations, by mmcv's PyTorch code for CPUs.

    Args:
        value (Tensor): Values, of shape (N, keys, heads, channels).
        spatial_shapes (Tensor): Height and width of the L levels, (L, 2).
        level_start_index (Tensor): Not used.
        locations (Tensor): Relative x, y of the P samples of each level, of
            shape (N, queries, heads, L, P, 2).
        weights (Tensor): Their weights, of shape (N, queries, heads, L, P).
        im2col_step (int): Not used.

    Returns:
        Tensor: Sums, of shape (N, queries, heads * channels).
    """
    return _ms_deform_attn(spatial_shapes)(value, locations, weights)


def ms_deform_attn_backward(value: Tensor, spatial_shapes: Tensor,
                            level_start_index: Tensor, locations: Tensor,
                            weights: Tensor, grad_output: Tensor,
                            grad_value: Tensor, grad_locations: Tensor,
                            grad_weights: Tensor, im2col_step: int) -> None:
    """Fill the last three, see the forward function."""
    found = _gradients(
        _ms_deform_attn(spatial_shapes), [value, locations, weights],
        grad_output)
    for gradient, values in zip((grad_value, grad_locations, grad_weights),
                                found):
        gradient.copy_(values)


# What mmcv tells of its compilation


def get_compiler_version() -> str:
    """Tell the compiler of mmcv's operators.

    Returns:
        str: That there is none.
    """
    return 'n/a'


get_compiling_cuda_version = get_compiler_version


def __getattr__(name: str) -> Callable[..., Any]:
    """Answer for the other operators, which mmcv asks for at its import."""
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f'This mmcv has no compiled operators, and lgm_pose_plugin has '
            f'none for {name}. Build mmcv with its operators: pip uninstall '
            'mmcv-lite; pip install "setuptools<81" ninja psutil; '
            'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary '
            'mmcv mmcv==2.1.0')

    return missing
