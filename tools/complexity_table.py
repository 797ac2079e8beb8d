"""Print the table of docs/model_zoo.md: the size of all configs and papers.

Configs that build the same network share a row. A paper's figure has the
counter it agrees with beside it; a row that differs from it in the last
printed digit (rounded or truncated) is marked, and the exit status is 1.
"""
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional

from lgm_pose_plugin.analysis.complexity import Complexity, count_complexity
from lgm_pose_plugin.models.builder import load_config
from lgm_pose_plugin.setup_env import set_up_mmpose

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/body_2d_keypoint'
COUNTERS = dict(
    params='all',
    leaf_params='leaf',
    macs='MMEngine',
    thop_macs='thop',
    hrnet_macs='HRNet')


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
# Parameters of Dite-HRNet's and Lite-HRNet's papers. Their multiply-adds are
# counted another way, see test_lite_hr_frame.py.
_DITE = {
    'td-hm_ditehrnet-18_8xb64-210e_coco-256x192': ('1.1', ),
    'td-hm_ditehrnet-30_8xb64-210e_coco-256x192': ('1.8', ),
    'td-hm_ditehrnet-18_8xb64-210e_coco-384x288': ('1.1', ),
    'td-hm_ditehrnet-30_8xb64-210e_coco-384x288': ('1.8', ),
    'td-hm_ditehrnet-18_8xb64-210e_mpii-256x256': ('1.1', ),
    'td-hm_ditehrnet-30_8xb64-210e_mpii-256x256': ('1.8', ),
    'td-hm_small-hrnet-w16_8xb64-210e_coco-256x192': ('1.3', ),
}
# HF-HRNet, as LAPX's paper has it.
_HF = {'td-hm_hfhrnet-18_8xb64-210e_coco-256x192': ('4.6', '0.7')}
# What they compare with: LPN (arXiv 1911.10346, and its repository for MPII),
# CPN (as HRNet, arXiv 1902.09212, lists it), TokenPose (arXiv 2104.03516) and
# HRFormer (arXiv 2110.09408). CPN's multiply-adds, 6.20, are of a network in
# a framework that is not public; its authors' public one has 6.73.
_COMPARED = {
    'td-hm_lpn50_8xb64-210e_coco-256x192': ('2.9', '1.0'),
    'td-hm_lpn50_8xb64-210e_mpii-256x256': ('2.9', '1.3'),
    'td-hm_cpn50_8xb64-210e_coco-256x192': ('27.0', None),
    'td-hm_tokenpose-b_8xb64-210e_coco-256x192': ('13.5', '5.7'),
    'td-hm_hrformer-t_8xb64-210e_coco-256x192': ('2.5', '1.3'),
}
# By name of the config; others of the same network are not listed.
PAPER = {
    name: Published(*figures)
    for name, figures in dict(_LGM_POSE, **_DITE, **_HF).items()
}
PAPER.update((name, Published(*figures, 'leaf_params', 'thop_macs'))
             for name, figures in _LAPX.items())
PAPER.update((name, Published(*figures, macs_counter='hrnet_macs'))
             for name, figures in _COMPARED.items())


def differs(row: Complexity, paper: Published) -> bool:
    """Compare a config with its paper.

    Args:
        row (Complexity): The config's counts.
        paper (Published): The paper's figures.

    Returns:
        bool: Whether one is not matched, see :func:`matches`.
    """
    return not (
        matches(getattr(row, paper.params_counter) / 1e6, paper.params)
        and matches(getattr(row, paper.macs_counter) / 1e9, paper.macs))


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


def configs() -> List[str]:
    """List the plugin's configs by name, over-fits and ablations last.

    Returns:
        list[str]: Their paths, without those that compare networks, whose
        tables are in docs/lsp_benchmark.md and docs/body17_benchmark.md.
    """
    return sorted((str(path) for path in CONFIGS.rglob('*.py')
                   if not path.parent.name.endswith('_benchmark')),
                  key=lambda path:
                  ('ablation' in path, 'overfit' in path, path[:-3]))


def table() -> Iterator[str]:
    """Count the configs.

    Yields:
        str: The lines of a table in Markdown, each with its end.
    """
    yield ('| config | input | params (M) | leaf | paper '
           '| MACs (G), MMEngine | conv | thop | paper | |\n')
    yield '| --- | --- ' + '| ---: ' * 7 + '| --- |\n'
    seen: List[dict] = []
    for config in configs():
        model = dict(load_config(config).model)
        model.pop('test_cfg', None)
        if model in seen:
            continue
        seen.append(model)
        row = count_complexity(config)
        paper = PAPER.get(row.name, Published())
        cells = [
            row.name, f'{row.input_size[0]}x{row.input_size[1]}',
            f'{row.params / 1e6:.4f}', f'{row.leaf_params / 1e6:.4f}',
            _figure(paper.params,
                    paper.params_counter), f'{row.macs / 1e9:.4f}',
            f'{row.conv_macs / 1e9:.4f}', f'{row.thop_macs / 1e9:.4f}',
            _figure(paper.macs, paper.macs_counter),
            'differs' if differs(row, paper) else ''
        ]
        yield f'| {" | ".join(cells)} |\n'


def _figure(figure: Optional[str], counter: str) -> str:
    """A paper's figure and the counter it agrees with."""
    return f'{figure} ({COUNTERS[counter]})' if figure else ''


def main() -> int:
    """Print the table.

    Returns:
        int: 0, or 1 if a row differs from the paper.
    """
    set_up_mmpose()
    text = ''.join(table())
    print(text, end='')
    return int('| differs |' in text)


if __name__ == '__main__':
    sys.exit(main())
