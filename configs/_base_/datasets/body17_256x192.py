# People in ordinary photos with COCO's 17 key points, from three data sets,
# top-down, 256x192 (HxW), with ground-truth boxes. docs/body17.md says what
# lies in data_root, docs/several_datasets.md how data sets are mixed. Broken
# pictures and annotations stop the run, with on_bad='skip' in a data set they
# are left out (docs/robustness.md).
codec = dict(
    type='SoftmaxUDPHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2)

dataset_type = 'CheckedCocoDataset'
data_mode = 'topdown'
data_root = 'data/body17/'

load_pipeline = [dict(type='LoadCheckedImage')]
train_pipeline = [
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    # The pictures are crops, which hold no more than a scale of 1.35 shows.
    dict(
        type='RandomBBoxTransform',
        shift_factor=0.1,
        rotate_factor=50.,
        scale_factor=(0.65, 1.35)),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PhotometricDistortion'),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PackPoseInputs')
]

coco = dict(
    type=dataset_type,
    data_root=data_root,
    data_mode=data_mode,
    ann_file='coco_train.json',
    data_prefix=dict(img='coco_train/'),
    pipeline=load_pipeline)
# The first are im00001 to im06000; the LSP configs validate on the others.
lspet = dict(
    coco,
    ann_file='lspet_train.json',
    data_prefix=dict(img='lspet_train/'),
    indices=5672)
people = dict(
    coco, ann_file='people_train.json', data_prefix=dict(img='people_train/'))

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    # So that EpochSeedHook can seed them at each epoch.
    persistent_workers=False,
    # docs/train_and_test.md says what it saves on a GPU.
    collate_fn=dict(type='stack_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[coco, lspet, people],
        # Half of an epoch's 11,429 people have labels made by people.
        sample_ratio_factor=[1, 0.25, 0.5],
        pipeline=train_pipeline,
        test_mode=False))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='coco_val.json',
        data_prefix=dict(img='coco_val/'),
        test_mode=True,
        pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'coco_val.json')
test_evaluator = val_evaluator
