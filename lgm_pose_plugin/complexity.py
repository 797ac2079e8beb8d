"""Parameters and multiply-adds of a config's network."""
import os.path as osp
from glob import glob
from typing import List, NamedTuple, Optional, Sequence

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.infer import BaseInferencer

from mmpose.models import build_pose_estimator

# Parameters (M) and multiply-adds (G) as printed in arXiv 2506.04561, tables
# 1, 4 and 5. "_8xb64-210e" variants and the like are the same networks.
PAPER = {
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


class Complexity(NamedTuple):
    """Size and cost of one config's network.

    Attributes:
        name (str): Name of the config.
        input_size (tuple[int, int]): Height and width of the input.
        params (int): Number of parameters.
        macs (int): Multiply-adds of one forward pass in eval mode.
        paper_params (str, optional): Parameters in millions, as printed in
            the paper.
        paper_macs (str, optional): Multiply-adds in billions, as printed.
    """
    name: str
    input_size: tuple
    params: int
    macs: int
    paper_params: Optional[str]
    paper_macs: Optional[str]

    @property
    def differs(self) -> bool:
        """Whether a figure of the paper is not matched, see `matches`."""
        return not (matches(self.params / 1e6, self.paper_params)
                    and matches(self.macs / 1e9, self.paper_macs))


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
    """Paths of the plugin's configs by name, ablations last."""
    root = BaseInferencer._get_repo_or_mim_dir(__package__)
    return sorted(
        glob(osp.join(root, 'configs', '**', 'td-hm_*.py'), recursive=True),
        key=lambda path: ('ablation' in path, osp.splitext(path)[0]))


def count_complexity(path: str) -> Complexity:
    """Count the parameters and multiply-adds of a config's network.

    The counter is MMEngine's ``get_model_complexity_info`` in eval mode:
    convolutions, linear layers and matrix products, 2 per element of a
    BatchNorm, 5 per element of a LayerNorm; without flip test.

    Args:
        path (str): Path of a top-down config.

    Returns:
        Complexity: The counts.
    """
    cfg = Config.fromfile(path)
    model = build_pose_estimator(cfg.model).eval()
    model.forward = model._forward
    width, height = cfg.codec.input_size
    analysis = get_model_complexity_info(
        model,
        inputs=(torch.zeros(1, 3, height, width), ),
        show_table=False,
        show_arch=False)
    name = osp.splitext(osp.basename(path))[0]
    return Complexity(name, (height, width),
                      sum(p.numel() for p in model.parameters()),
                      analysis['flops'], *PAPER.get(name, (None, None)))


def count_all(paths: Sequence[str]) -> List[Complexity]:
    """Count configs; those with the same network share the first's row.

    Args:
        paths (Sequence[str]): Paths of top-down configs.

    Returns:
        list[Complexity]: One entry per network.
    """
    seen, rows = [], []
    for path in paths:
        model = Config.fromfile(path).model.to_dict()
        if model not in seen:
            seen.append(model)
            rows.append(count_complexity(path))
    return rows
