"""The configs: complete, consistent, and the paper's."""
import re
from pathlib import Path

import pytest
import torch
from mmpose.registry import DATASETS

from lgm_pose_plugin.datasets import CheckedDataset
from lgm_pose_plugin.models.layers import NonLocal

CONFIG_DIR = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted((CONFIG_DIR / 'body_2d_keypoint').rglob('*.py'))
NAMES = [path.stem for path in PATHS]
PATTERN = re.compile(
    r'(?P<algorithm>td-hm|simcc)_'
    r'(?P<net>lgm-pose|lapx|lap|mobilenetv2|litehrnet-18|rtmpose-t|lpn50|'
    r'cpn50|tokenpose-b|hrformer-t|ditehrnet-(?:18|30)|hfhrnet-(?:18|30)|'
    r'small-hrnet-w16)'
    r'(?:-(?P<variant>[a-z0-9-]+))?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e'
    r'_(?P<data>coco|mpii|lsp|rendered|body17)-(?P<height>\d+)x(?P<width>\d+)'
    r'(?P<note>-[a-z]+(?:-[a-z]+)?)?')
# Of the others `test_no_flip_changes_the_test_alone` knows the rest.
WITH_FLIP = [name for name in NAMES if not name.endswith('-no-flip')]
OURS = ('lgm-pose', 'lapx', 'lap')
DATA = dict(
    coco=('CheckedCocoDataset', 17),
    rendered=('CheckedCocoDataset', 17),
    body17=('CheckedCocoDataset', 17),
    mpii=('CheckedMpiiDataset', 16),
    lsp=('LspDataset', 14))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope='module')
def network(load_config, build):
    """A config's network and what it computes, built once for all twins."""
    built = {}

    @torch.no_grad()
    def get(name):
        cfg = load_config(name)
        key = cfg.model.to_dict()
        key.pop('test_cfg')
        for part in ('loss', 'decoder'):
            key['head'].pop(part, None)
        width, height = cfg.codec.input_size
        key = str((width, height, key))
        if key not in built:
            model = build(name).eval()
            images = torch.zeros(1, 3, height, width)
            built[key] = model, model(images, None, mode='tensor')
        return built[key]

    return get


def test_names():
    assert len(NAMES) > 10
    assert len(set(NAMES)) == len(NAMES)
    for path in CONFIG_DIR.rglob('*.py'):
        base = CONFIG_DIR / '_base_' in path.parents
        assert base or PATTERN.fullmatch(path.stem), path


@pytest.mark.promise('configs')
def test_name_says_what_it_is(load_config, name):
    cfg, parts = load_config(name), PATTERN.fullmatch(name)
    size = (int(parts['width']), int(parts['height']))
    assert tuple(cfg.codec.input_size) == size
    assert cfg.train_dataloader.batch_size == int(parts['batch'])
    assert cfg.train_cfg.max_epochs == int(parts['epochs'])
    assert (cfg.dataset_type,
            cfg.model.head.out_channels) == DATA[parts['data']]
    if parts['gpus'] == '8':
        assert cfg.train_dataloader.batch_size == 64


def test_inferencer_finds_what_it_needs(load_config, name):
    cfg = load_config(name)
    assert cfg.data_mode == 'topdown'
    assert cfg.test_dataloader.dataset.type == cfg.dataset_type
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == [
        'LoadCheckedImage', 'GetBBoxCenterScale', 'TopdownAffine',
        'PackPoseInputs'
    ]
    assert cfg.visualizer.type == 'PoseLocalVisualizer'
    assert cfg.default_scope == 'mmpose'
    assert cfg.custom_imports == dict(
        imports=['lgm_pose_plugin'], allow_failed_imports=False)


@pytest.mark.promise('hooks-in-configs')
def test_faults_are_noticed_and_kills_survived(load_config, name):
    cfg = load_config(name)
    for loader in ('train', 'val', 'test'):
        dataset = cfg[f'{loader}_dataloader'].dataset
        for part in dataset.get('datasets', [dataset]):
            assert issubclass(DATASETS.get(part.type), CheckedDataset)
            assert part.pipeline[0].type == 'LoadCheckedImage'
    assert {
        'EpochSeedHook', 'InvalidLossHook', 'LoggerHook', 'SafeCheckpointHook',
        'SkippedDataHook'
    } <= {hook.type
          for hook in cfg.default_hooks.values()}
    assert not cfg.train_dataloader.persistent_workers


def _codecs(value):
    """All codecs in a config."""
    if isinstance(value, dict):
        if 'input_size' in value and 'sigma' in value:
            yield value
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for one in value:
        yield from _codecs(one)


@pytest.mark.promise('configs')
@pytest.mark.parametrize('name', [
    name if PATTERN.fullmatch(name)['net'] in OURS else pytest.param(
        name, marks=pytest.mark.e2e) for name in WITH_FLIP
])
def test_sizes_agree(load_config, network, name):
    cfg = load_config(name)
    codec = cfg.codec
    codecs = list(_codecs(cfg._cfg_dict.to_dict()))
    assert len(codecs) >= 3
    # The paper's loss takes the same targets and decodes them otherwise.
    assert all(
        dict(one, type=codec.type) == codec if cfg.model.head.decoder.type ==
        'UDPHeatmap' else one == codec for one in codecs)
    # LAPX takes any size.
    assert cfg.model.backbone.get('input_size',
                                  codec.input_size) == codec.input_size
    for loader in ('train', 'val', 'test'):
        pipeline = cfg[f'{loader}_dataloader'].dataset.pipeline
        sizes = [step.input_size for step in pipeline if 'input_size' in step]
        assert sizes == [codec.input_size], loader
    _, outputs = network(name)
    if PATTERN.fullmatch(name)['algorithm'] == 'simcc':
        head = cfg.model.head
        assert head.input_size == codec.input_size
        assert head.simcc_split_ratio == codec.simcc_split_ratio
        assert [tuple(out.shape) for out in outputs
                ] == [(1, head.out_channels, codec.simcc_split_ratio * size)
                      for size in codec.input_size]
        return
    stages = cfg.model.head.get('num_stages')
    assert stages is None or len(outputs) == stages
    for heatmaps in [outputs] if stages is None else outputs:
        assert heatmaps.shape == (1, cfg.model.head.out_channels,
                                  *codec.heatmap_size[::-1])


def test_flip_test_fits_the_codec(load_config, name):
    """MSRA's heat maps are shifted by the flip, UDP's are not."""
    cfg = load_config(name)
    if PATTERN.fullmatch(name)['algorithm'] == 'simcc':
        assert cfg.codec.type == 'SimCCLabel'
        assert cfg.model.test_cfg == dict(flip_test=True)
        return
    decoder = cfg.model.head.decoder.type
    assert decoder in ('MSRAHeatmap', 'UDPHeatmap', 'SoftmaxUDPHeatmap')
    losses = cfg.model.head.loss
    for loss in losses if isinstance(losses, list) else [losses]:
        assert (decoder == 'SoftmaxUDPHeatmap') is (
            loss.type == 'KeypointCrossEntropyLoss')
    assert cfg.model.test_cfg == dict(
        flip_test='no-flip' not in name,
        flip_mode='heatmap',
        shift_heatmap=decoder == 'MSRAHeatmap')


@pytest.mark.promise('configs')
@pytest.mark.parametrize('name', [
    name for name in NAMES if PATTERN.fullmatch(name)['data'] in (
        'coco', 'mpii') and not name.endswith('-overfit')
])
def test_recipe(load_config, name):
    cfg, parts = load_config(name), PATTERN.fullmatch(name)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert {'RandomFlip', 'RandomHalfBody', 'RandomBBoxTransform'} < set(steps)
    assert not any('Pretrained' in str(part)
                   for part in (cfg.model, cfg.get('load_from')))
    optimizer, schedule = cfg.optim_wrapper.optimizer, cfg.param_scheduler[-1]
    is_plus = (
        parts['variant'] in ('plus', 'distilled')
        or (parts['variant'], parts['algorithm']) == ('fast', 'td-hm'))
    assert optimizer.type == ('AdamW' if is_plus else 'Adam')
    if is_plus:
        assert cfg.codec.type == 'SoftmaxUDPHeatmap' and cfg.codec.sigma == 2
    elif parts['algorithm'] == 'simcc':
        assert cfg.codec.type == 'SimCCLabel'
        assert cfg.codec.sigma == (4.9, 5.66)  # RTMPose's at 256x192
    else:
        assert cfg.codec.type == 'MSRAHeatmap'
        assert cfg.codec.sigma == (3 if parts['width'] == '288' else 2)
    assert cfg.auto_scale_lr.base_batch_size == int(parts['batch']) * int(
        parts['gpus'])
    assert schedule.by_epoch
    if is_plus:
        assert schedule.type == 'CosineAnnealingLR' and 'T_max' not in schedule
        assert 'EMAHook' in [hook.type for hook in cfg.custom_hooks]
    else:
        assert schedule.type == 'MultiStepLR'
        assert schedule.gamma == 0.1
        assert schedule.end == cfg.train_cfg.max_epochs
    if parts['gpus'] == '1':  # the paper's
        assert optimizer.lr == 1e-3
        assert schedule.milestones == [200, 240]
        assert cfg.train_cfg.max_epochs == 260
        assert cfg.train_dataloader.batch_size == 32
        assert len(cfg.param_scheduler) == 1
    else:
        assert cfg.train_cfg.max_epochs == 210
        assert is_plus or schedule.milestones == [170, 200]
        assert cfg.param_scheduler[0].type == 'LinearLR'
        assert optimizer.lr == (4e-3 if parts['net'] == 'lgm-pose' else 5e-4)
    metric = {
        'coco': ('CocoMetric', 'coco/AP'),
        'mpii': ('MpiiPCKAccuracy', 'PCK')
    }[parts['data']]
    assert (cfg.val_evaluator.type,
            cfg.default_hooks.checkpoint.save_best) == metric
    assert cfg.default_hooks.checkpoint.rule == 'greater'
    if parts['data'] == 'coco':
        assert 'val2017_detections_AP_H_56' in (
            cfg.val_dataloader.dataset.bbox_file)


@pytest.mark.parametrize('name', [name for name in NAMES if '_lsp-' in name])
def test_lsp_recipe(load_config, name):
    cfg, parts = load_config(name), PATTERN.fullmatch(name)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert {'RandomFlip', 'RandomBBoxTransform'} < set(steps)
    if '-paper' in name:
        steps, = cfg.param_scheduler
        assert steps.type == 'MultiStepLR' and not steps.by_epoch
    else:
        warm_up, cosine = cfg.param_scheduler
        assert warm_up.type == 'LinearLR' and not warm_up.by_epoch
        assert cosine.type == 'CosineAnnealingLR' and 'T_max' not in cosine
    assert cfg.auto_scale_lr.base_batch_size == int(parts['batch'])
    assert [metric.type for metric in cfg.val_evaluator
            ] == ['LspPCKAccuracy', 'CocoMetric']
    assert cfg.val_evaluator[1].ann_file == (
        cfg.data_root + cfg.val_dataloader.dataset.ann_file)
    assert cfg.val_dataloader.dataset.ann_file.endswith('_val.json')
    assert cfg.train_dataloader.dataset.ann_file.endswith('_train.json')
    assert cfg.default_hooks.checkpoint.save_best == 'lsp/PCK'
    assert cfg.default_hooks.checkpoint.rule == 'greater'


@pytest.mark.parametrize('name',
                         [name for name in NAMES if '_body17-' in name])
def test_body17_recipe(load_config, name):
    cfg, parts = load_config(name), PATTERN.fullmatch(name)
    dataset = cfg.train_dataloader.dataset
    coco, lspet, people = (part.ann_file for part in dataset.datasets)
    assert (coco, lspet, people) == ('coco_train.json', 'lspet_train.json',
                                     'people_train.json')
    assert dataset.datasets[1].indices == 5672
    # COCO's labels are made by people, and weigh the most.
    assert dataset.sample_ratio_factor[0] == max(dataset.sample_ratio_factor)
    assert cfg.val_evaluator.type == 'CocoMetric'
    assert cfg.val_evaluator.ann_file == (
        cfg.data_root + cfg.val_dataloader.dataset.ann_file)
    assert cfg.val_dataloader.dataset.ann_file == 'coco_val.json'
    assert cfg.auto_scale_lr.base_batch_size == int(parts['batch'])
    assert cfg.default_hooks.checkpoint.save_best == 'coco/AP'
    assert cfg.default_hooks.checkpoint.rule == 'greater'
    assert 'EMAHook' in [hook.type for hook in cfg.custom_hooks]


@pytest.mark.parametrize('variant, neck', [
    ('fusion-none', dict(fusion='none')),
    ('fusion-conv', dict(fusion='conv')),
    ('fusion-dw1', dict(fusion='dw1')),
    ('fusion-dw2', dict(fusion='dw2')),
    ('mobilevit', {}),
])
def test_ablations_change_one_thing(load_config, variant, neck):
    cfg = load_config('td-hm_lgm-pose_1xb32-260e_mpii-256x256')
    other = load_config(f'td-hm_lgm-pose-{variant}_1xb32-260e_mpii-256x256')
    assert other.model.neck == dict(cfg.model.neck, **neck)
    changed = {key for key in cfg if cfg[key] != other[key]}
    assert changed == {'model'} and set(cfg) == set(other)
    assert other.model.head == cfg.model.head
    assert (other.model.backbone == cfg.model.backbone) is (variant
                                                            != 'mobilevit')


@pytest.mark.parametrize(
    'path', [
        path for path in PATHS if path.parent.name.endswith('_benchmark')
        and not re.search('-paper|-mmpose-augmentation', path.stem)
    ],
    ids=lambda path: path.stem)
def test_benchmark_changes_the_network_alone(load_config, path):
    """But for what SimCC, the Non-Local layers and names need."""
    name = path.stem
    cfg = load_config('td-hm_lgm-pose_' + name.split('_', 2)[2])
    other = load_config(name)
    changed = {key for key in {*cfg, *other} if cfg.get(key) != other.get(key)}
    allowed = {'model', 'custom_hooks', 'find_unused_parameters'}
    if name.startswith('simcc'):
        allowed |= {'codec', 'simcc', 'train_pipeline', 'optim_wrapper'}
        steps = [c.train_dataloader.dataset.pipeline for c in (cfg, other)]
        assert [
            step for step in steps[0] if step.type != 'GenerateTarget'
        ] == [step for step in steps[1] if step.type != 'GenerateTarget']
        changed -= {'train_dataloader'}
    assert changed <= allowed


@pytest.mark.parametrize('name, base, allowed', [
    ('mse-mmpose-augmentation_1xb8', 'mse_1xb8',
     {'train_pipeline', 'train_dataloader'}),
    ('paper-batch8_1xb8', 'mse-mmpose-augmentation_1xb8',
     {'optim_wrapper', 'param_scheduler'}),
    ('paper_1xb32', 'paper-batch8_1xb8',
     {'train_dataloader', 'param_scheduler', 'auto_scale_lr'}),
])
def test_recipes_change_one_thing_a_row(load_config, name, base, allowed):
    cfg, other = (
        load_config(f'td-hm_lgm-pose-{one}-4e_lsp-128x96')
        for one in (base, name))
    assert {key
            for key in {*cfg, *other}
            if cfg.get(key) != other.get(key)} == allowed


def test_benchmark_has_the_ablations_first_row(load_config):
    ours, paper = (
        load_config(f'td-hm_lapx-cbam_{rest}')
        for rest in ('1xb8-4e_lsp-128x96', '8xb64-210e_mpii-256x256'))
    backbone = dict(paper.model.backbone, num_keypoints=14)
    assert ours.model.backbone == backbone
    hooks = ([hook.type for hook in cfg.custom_hooks] for cfg in (ours, paper))
    assert next(hooks) == next(hooks) == ['SyncBuffersHook']
    assert not ours.find_unused_parameters


def test_no_larm_lacks_larm_alone(load_config, network):
    names = [
        f'td-hm_lgm-pose{variant}_1xb4-2e_rendered-128x96'
        for variant in ('', '-no-larm')
    ]
    cfg, other = map(load_config, names)
    assert {key for key in cfg if cfg[key] != other[key]} == {'model'}
    weights = [set(network(name)[0].state_dict()) for name in names]
    assert weights[1] < weights[0]
    assert all('.larm.' in key for key in weights[0] - weights[1])


def test_lapx_ablation_changes_one_thing_a_row(load_config):
    """Row 5 is LAPX; each row before lacks one of its parts."""
    rows = [
        load_config(f'td-hm_{name}_8xb64-210e_mpii-256x256')
        for name in ('lapx', 'lapx-stem-eca-cbam', 'lapx-soft-gate',
                     'lapx-eca-cbam', 'lapx-cbam')
    ]
    changes = [
        dict(neck_attention=None),
        dict(stem_attention=None),
        dict(soft_gate=False),
        dict(post_attention=dict(type='LAPXCBAM', reduction=16))
    ]
    for row, next_row, change in zip(rows, rows[1:], changes):
        assert next_row.model.backbone == dict(row.model.backbone, **change)
        assert next_row.model.head == row.model.head
        if 'neck_attention' not in change:
            assert {key
                    for key in row if row[key] != next_row[key]} == {'model'}


@pytest.mark.parametrize('num_stages', [2, 4, 5])
def test_lapx_stage_study(load_config, network, num_stages):
    cfg = load_config('td-hm_lapx_8xb64-210e_mpii-256x256')
    name = f'td-hm_lapx-{num_stages}stage_8xb64-210e_mpii-256x256'
    other = load_config(name)
    assert {key for key in cfg if cfg[key] != other[key]} == {'model'}
    assert other.model.head == dict(cfg.model.head, num_stages=num_stages)
    has_non_local = [
        any(isinstance(layer, NonLocal) for layer in stage.modules())
        for stage in network(name)[0].backbone.stages
    ]
    assert has_non_local == [True, *[False] * (num_stages - 2), True]


@pytest.mark.parametrize('name', WITH_FLIP)
def test_gamma_is_raised_where_there_is_non_local(load_config, network, name):
    """The hook, and what several processes need for it, are there if used."""
    cfg = load_config(name)
    hooks = [
        hook for hook in cfg.custom_hooks if hook.type == 'NonLocalRampHook'
    ]
    # No other network has such layers.
    layers = cfg.model.backbone.type == 'LAPX' and [
        module for module in network(name)[0].modules()
        if isinstance(module, NonLocal)
    ]
    assert len(hooks) == bool(layers)
    assert 'SyncBuffersHook' in [hook.type for hook in cfg.custom_hooks]
    if hooks:
        assert hooks[0].gamma == 0.2 and cfg.find_unused_parameters
        assert 0 < hooks[0].begin < hooks[0].end < cfg.train_cfg.max_epochs


@pytest.mark.promise('no-flip')
@pytest.mark.parametrize('name',
                         [name for name in NAMES if name.endswith('no-flip')])
def test_no_flip_changes_the_test_alone(load_config, name):
    cfg, base = load_config(name), load_config(name.replace('-no-flip', ''))
    assert cfg.model.test_cfg == dict(base.model.test_cfg, flip_test=False)
    base.model.test_cfg = cfg.model.test_cfg
    assert cfg.to_dict() == base.to_dict()


@pytest.mark.parametrize('name, split', [
    ('td-hm_lgm-pose_1xb32-260e_coco-256x192', 'val'),
    ('td-hm_lgm-pose_1xb32-260e_coco-384x288', 'train'),
])
def test_pipeline_on_coco(load_config, coco_root, name, split):
    cfg = load_config(name)
    dataset = cfg[f'{split}_dataloader'].dataset
    dataset.update(data_root=str(coco_root))
    dataset.pop('bbox_file', None)
    item = DATASETS.build(dataset)[0]
    width, height = cfg.codec.input_size
    assert item['inputs'].shape == (3, height, width)
    if split == 'train':
        assert item['data_samples'].gt_fields.heatmaps.shape == (
            17, *cfg.codec.heatmap_size[::-1])
