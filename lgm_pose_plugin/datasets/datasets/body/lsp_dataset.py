"""Leeds Sports Pose (LSP) and its extended training set (LSPET)."""
from mmpose.registry import DATASETS

from ..base.checked_dataset import CheckedDataset

_COLORS = dict(left=[0, 255, 0], right=[255, 128, 0])
_MIDDLE = [51, 153, 255]


def _keypoint_info() -> dict:
    names = ('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee',
             'left_ankle', 'right_wrist', 'right_elbow', 'right_shoulder',
             'left_shoulder', 'left_elbow', 'left_wrist', 'neck', 'head_top')
    info = {}
    for index, name in enumerate(names):
        side, _, joint = name.partition('_')
        opposite = 'left' if side == 'right' else 'right'
        info[index] = dict(
            name=name,
            id=index,
            color=_COLORS.get(side, _MIDDLE),
            type='lower' if joint in ('ankle', 'knee', 'hip') else 'upper',
            swap=f'{opposite}_{joint}' if side in _COLORS else '')
    return info


def _skeleton_info() -> dict:
    links = [(f'{side}_{start}', f'{side}_{end}', color)
             for side, color in reversed(_COLORS.items())
             for start, end in (('ankle', 'knee'), ('knee', 'hip'),
                                ('wrist', 'elbow'), ('elbow', 'shoulder'))]
    links += [(start, end, _MIDDLE)
              for start, end in (('right_hip', 'left_hip'), ('right_shoulder',
                                                             'right_hip'),
                                 ('left_shoulder',
                                  'left_hip'), ('right_shoulder', 'neck'),
                                 ('left_shoulder', 'neck'), ('neck',
                                                             'head_top'))]
    return {
        index: dict(link=(start, end), id=index, color=color)
        for index, (start, end, color) in enumerate(links)
    }


@DATASETS.register_module()
class LspDataset(CheckedDataset):
    """Leeds Sports Pose and Leeds Sports Pose Extended, for top-down models.

    It reads what ``lgm-pose convert-lsp`` writes and takes the arguments of
    MMPose's ``BaseCocoStyleDataset``, and ``on_bad`` of
    :class:`CheckedDataset`.

    - LSP: Johnson and Everingham, "Clustered Pose and Nonlinear Appearance
      Models for Human Pose Estimation", BMVC 2010.
    - LSPET: Johnson and Everingham, "Learning Effective Human Pose Estimation
      from Inaccurate Annotation", CVPR 2011.

    Key points, left and right being those of the person::

        0: 'right_ankle',     7: 'right_elbow',
        1: 'right_knee',      8: 'right_shoulder',
        2: 'right_hip',       9: 'left_shoulder',
        3: 'left_hip',       10: 'left_elbow',
        4: 'left_knee',      11: 'left_wrist',
        5: 'left_ankle',     12: 'neck',
        6: 'right_wrist',    13: 'head_top'

    The data set publishes no sigmas. Those here are COCO's for the twelve
    joints of the limbs and, for neck and head top, the .079 that MMPose's
    CrowdPose has for them. The joint weights are those of MMPose's MPII.
    """

    # The inferencers take the kind of object, and so the default detector,
    # from this module's path: 'body'.
    METAINFO: dict = dict(
        dataset_name='lsp',
        paper_info=dict(
            author='Johnson, Sam and Everingham, Mark',
            title='Learning Effective Human Pose Estimation from Inaccurate '
            'Annotation',
            container='Proceedings of the IEEE Conference on Computer Vision '
            'and Pattern Recognition',
            year='2011',
            homepage='http://sam.johnson.io/research/lspet.html'),
        keypoint_info=_keypoint_info(),
        skeleton_info=_skeleton_info(),
        joint_weights=[
            1.5, 1.2, 1., 1., 1.2, 1.5, 1.5, 1.2, 1., 1., 1.2, 1.5, 1., 1.
        ],
        sigmas=[
            .089, .087, .107, .107, .087, .089, .062, .072, .079, .079, .072,
            .062, .079, .079
        ])
