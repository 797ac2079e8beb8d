"""Parameters and multiply-adds of a config's network."""
import os.path as osp
from glob import glob
from typing import Counter, List, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmengine.analysis import FlopAnalyzer
from mmengine.infer import BaseInferencer
from mmpose.models import TopdownPoseEstimator
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lgm_pose_plugin.model_index import PACKAGE
from lgm_pose_plugin.models.builder import build_model, load_config

_LEAVES = (_ConvNd, _BatchNorm, nn.Linear, nn.LayerNorm)


class Published(NamedTuple):
    """Figures of a paper, and the counters they agree with.

    Attributes:
        params (str, optional): Parameters in millions, as printed.
        macs (str, optional): Multiply-adds in billions, as printed.
        params_counter (str): The field of :class:`Complexity` with the same
            counter.
        macs_counter (str): As ``params_counter``.
    """
    params: Optional[str] = None
    macs: Optional[str] = None
    params_counter: str = 'params'
    macs_counter: str = 'macs'


# Tables 1, 4 and 5 of LGM-Pose (arXiv 2506.04561).
_LGM_POSE = {
    'td-hm_lgm-pose_1xb32-260e_coco-256x192': ('1.1', '0.6'),
    'td-hm_lgm-pose-l_1xb32-260e_coco-256x192': ('1.1', '0.6'),
    'td-hm_lgm-pose-b_1xb32-260e_coco-256x192': ('1.1', '0.6'),
    'td-hm_lgm-pose_1xb32-260e_coco-384x288': ('1.2', '1.5'),
    'td-hm_lgm-pose_1xb32-260e_mpii-256x256': ('1.1', '0.90'),
    'td-hm_lgm-pose-fusion-none_1xb32-260e_mpii-256x256': ('0.8', '0.7'),
    'td-hm_lgm-pose-fusion-conv_1xb32-260e_mpii-256x256': ('2.1', '1.5'),
    'td-hm_lgm-pose-fusion-dw1_1xb32-260e_mpii-256x256': ('1.08', '0.89'),
    'td-hm_lgm-pose-fusion-dw2_1xb32-260e_mpii-256x256': ('1.1', '0.90'),
    'td-hm_lgm-pose-mobilevit_1xb32-260e_mpii-256x256': ('2.5', '1.4'),
}
# LAPX (arXiv 2512.16089), its ablation, which prints parameters alone, and
# LAP (arXiv 2412.06227).
_LAPX = {
    'td-hm_lapx_8xb64-210e_coco-256x192': ('2.30', '2.59'),
    'td-hm_lapx_8xb64-210e_mpii-256x256': ('2.30', None),
    'td-hm_lapx-cbam_8xb64-210e_mpii-256x256': ('2.28', None),
    'td-hm_lapx-eca-cbam_8xb64-210e_mpii-256x256': ('2.26', None),
    'td-hm_lapx-soft-gate_8xb64-210e_mpii-256x256': ('2.26', None),
    'td-hm_lapx-stem-eca-cbam_8xb64-210e_mpii-256x256': ('2.26', None),
    'td-hm_lap_8xb64-210e_coco-256x192': ('2.34', '2.78'),
    'td-hm_lap_8xb64-210e_mpii-256x256': ('2.3', '3.7'),
}
# By name of the config; others of the same network are not listed.
PAPER = {name: Published(*figures) for name, figures in _LGM_POSE.items()}
PAPER.update((name, Published(*figures, 'leaf_params', 'thop_macs'))
             for name, figures in _LAPX.items())


class Complexity(NamedTuple):
    """Size and cost of one config's network.

    Attributes:
        name (str): Name of the config.
        input_size (tuple[int, int]): Height and width of the input.
        params (int): Number of all parameters.
        leaf_params (int): Those of convolutions, linear and normalization
            layers; a network's own, such as LAPX's gates, are left out.
        macs (int): Multiply-adds of one forward pass as MMEngine counts them:
            also 2 per element of a BatchNorm, 5 of a LayerNorm, 1 of a pooled
            or enlarged map.
        conv_macs (int): Those of convolutions, linear layers and matrix
            products.
        thop_macs (int): ``conv_macs``, and 4 per element of a normalized, 1
            of an average-pooled map, as the package thop counts these.
        paper (Published): The paper's figures.
    """
    name: str
    input_size: tuple
    params: int
    leaf_params: int
    macs: int
    conv_macs: int
    thop_macs: int
    paper: Published

    @property
    def differs(self) -> bool:
        """Whether a figure of the paper is not matched, see `matches`."""
        params = getattr(self, self.paper.params_counter)
        macs = getattr(self, self.paper.macs_counter)
        return not (matches(params / 1e6, self.paper.params)
                    and matches(macs / 1e9, self.paper.macs))


def matches(value: float, printed: Optional[str]) -> bool:
    """Whether a value agrees with a printed figure to its last digit.

    Args:
        value (float): The exact value.
        printed (str, optional): The figure. The paper rounds some figures and
            truncates others, so both agree. ``None`` agrees with anything.
    """
    if printed is None:
        return True
    digits = len(printed.partition('.')[2])
    truncated = int(value * 10**digits) / 10**digits
    return float(printed) in (truncated, round(value, digits))


def package_configs() -> List[str]:
    """Paths of the plugin's configs by name, over-fits and ablations last.

    Those of docs/lsp_benchmark.md, which has its own table, are left out.
    """
    root = BaseInferencer._get_repo_or_mim_dir(PACKAGE)
    paths = glob(
        osp.join(root, 'configs', 'body_2d_keypoint', '**', '*.py'),
        recursive=True)
    return sorted(
        (path for path in paths if 'lsp_benchmark' not in path),
        key=lambda path:
        ('ablation' in path, 'overfit' in path, osp.splitext(path)[0]))


def count_macs(model: TopdownPoseEstimator,
               input_size: Tuple[int, int]) -> Counter[str]:
    """Count the multiply-adds of one image as MMEngine does.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, in eval mode.
        input_size (tuple[int, int]): Height and width of the image.

    Returns:
        Counter[str]: Their numbers by operator.
    """
    model.forward = model._forward
    try:
        analyzer = FlopAnalyzer(model, (torch.zeros(1, 3, *input_size), ))
        analyzer.unsupported_ops_warnings(False)
        return analyzer.by_operator()
    finally:
        del model.forward


def count_complexity(config: str) -> Complexity:
    """Count the parameters and multiply-adds of a config's network.

    In eval mode and without flip test, from the operators that MMEngine's
    ``FlopAnalyzer`` finds.

    Args:
        config (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.

    Returns:
        Complexity: The counts.

    Raises:
        ValueError: If there is no such config, or it has no top-down network
            or no input size.
    """
    cfg = load_config(config)
    model = build_model(cfg)
    size = getattr(getattr(model.head, 'decoder', None), 'input_size', None)
    if size is None:
        raise ValueError(f'{cfg.filename} has no input size '
                         '(model.head.decoder.input_size)')
    input_size = tuple(size)[::-1]
    macs = count_macs(model, input_size)
    conv_macs = sum(macs[name]
                    for name in ('conv', 'linear', 'matmul', 'bmm', 'einsum'))
    # MMEngine counts 2 and 5 per element.
    normalized = macs['batch_norm'] / 2 + macs['layer_norm'] / 5
    name = osp.splitext(osp.basename(cfg.filename))[0]
    return Complexity(
        name=name,
        input_size=input_size,
        params=sum(p.numel() for p in model.parameters()),
        leaf_params=sum(p.numel() for module in model.modules()
                        if isinstance(module, _LEAVES)
                        for p in module.parameters()),
        macs=sum(macs.values()),
        conv_macs=conv_macs,
        thop_macs=int(conv_macs + 4 * normalized +
                      macs['adaptive_avg_pool2d']),
        paper=PAPER.get(name, Published()))


def count_all(configs: Sequence[str]) -> List[Complexity]:
    """Count configs; those with the same network share the first's row.

    Args:
        configs (Sequence[str]): See
            :func:`~lgm_pose_plugin.models.builder.load_config`.

    Returns:
        list[Complexity]: One entry per network.

    Raises:
        ValueError: As :func:`count_complexity`.
    """
    seen, rows = [], []
    for config in configs:
        model = dict(load_config(config).get('model', {}))
        model.pop('test_cfg', None)
        if model not in seen:
            seen.append(model)
            rows.append(count_complexity(config))
    return rows
