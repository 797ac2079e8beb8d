import re
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio import load
from mmengine.infer import BaseInferencer
from mmengine.registry import METRICS, MODELS
from mmengine.utils import is_installed
from mmpose.apis import MMPoseInferencer
from mmpose.evaluation import CocoMetric
from mmpose.models import build_pose_estimator

from lgm_pose_plugin.model_index import (iter_models, load_model_from_index,
                                         register_model_names)

NAME = 'td-hm_lgm-pose_1xb32-260e_coco-256x192'
CONFIG = f'configs/body_2d_keypoint/topdown_heatmap/coco/{NAME}.py'
URL = 'https://example.com/lgm-pose.pth'


def look_up(name, scope='mmpose'):
    return BaseInferencer._load_model_from_metafile(
        SimpleNamespace(scope=scope), name)


@pytest.fixture
def metafile(root, monkeypatch):
    """Put models into the plugin's index."""
    original = BaseInferencer._get_models_from_metafile

    def metafile(*models):

        def from_metafile(folder):
            return iter(models) if folder == str(root) else original(folder)

        monkeypatch.setattr(BaseInferencer, '_get_models_from_metafile',
                            staticmethod(from_metafile))

    return metafile


@pytest.mark.promise('index')
@pytest.mark.parametrize('alias', ['lgm-pose', ['human-lgm', 'LGM-Pose']])
@pytest.mark.parametrize('name', [NAME, NAME.upper(), 'lgm-pose', 'Lgm-Pose'])
def test_finds_name_and_alias(metafile, alias, name):
    metafile(
        dict(Name='other', Config='configs/other.py', Weights='other.pth'),
        dict(Name=NAME, Alias=alias, Config=CONFIG, Weights=URL))
    for find in (load_model_from_index, look_up):
        cfg, weights = find(name)
        assert cfg.model.backbone.type == 'MobileViM'
        assert weights == URL


def test_weights_in_the_package_are_a_path(root, metafile):
    metafile(dict(Name=NAME, Config=CONFIG, Weights='weights/lgm.pth'))
    assert load_model_from_index(NAME)[1] == str(root / 'weights' / 'lgm.pth')
    model, = iter_models()
    assert model['Config'] == str(root / CONFIG)


@pytest.mark.parametrize('fields', [{}, dict(Weights=None), dict(Weights='')])
def test_without_weights(metafile, fields):
    metafile(dict(Name=NAME, Config=CONFIG, **fields))
    with pytest.raises(ValueError, match='no published weights') as error:
        MMPoseInferencer(pose2d=NAME)
    assert f"pose2d='{NAME}', pose2d_weights=" in str(error.value)


@pytest.mark.promise('index')
@pytest.mark.parametrize('fields', [{}, dict(Weights=URL)])
def test_own_weights(metafile, network_files, fields):
    """Those of the index are left alone."""
    config, checkpoint, _ = network_files
    metafile(dict(Name=NAME, Config=config, **fields))
    inferencer = MMPoseInferencer(
        pose2d=NAME,
        pose2d_weights=checkpoint,
        det_model='whole_image',
        device='cpu')
    weights = torch.load(checkpoint, weights_only=True)['state_dict']
    loaded = inferencer.inferencer.model.state_dict()
    for name, value in weights.items():
        assert torch.equal(loaded[name], value)


def test_published_names():
    """Every model of the index has weights or says that it has none."""
    for model in iter_models():
        if model['Weights']:
            assert load_model_from_index(model['Name'])[1] == model['Weights']
        else:
            with pytest.raises(ValueError, match='no published weights'):
                MMPoseInferencer(pose2d=model['Name'])


def test_unknown_name_is_left_to_mmpose():
    assert load_model_from_index('no-such-model') is None
    with pytest.raises(
            ValueError, match='Cannot find model: no-such-model in mmpose'):
        MMPoseInferencer(pose2d='no-such-model')


@pytest.mark.promise('index')
def test_names_of_mmpose_work_as_before():
    cfg, weights = look_up('human')
    assert cfg.model.type == 'TopdownPoseEstimator'
    assert weights.startswith('https://download.openmmlab.com')


def test_registration_is_idempotent():
    method = BaseInferencer._load_model_from_metafile
    assert method.__module__ == 'lgm_pose_plugin.model_index'
    register_model_names()
    assert BaseInferencer._load_model_from_metafile is method
    assert MODULE2PACKAGE['lgm_pose_plugin'] == 'lgm_pose_plugin'


def test_metafiles(root):
    names, collections = [], []
    for file in load(str(root / 'model-index.yml'))['Import']:
        meta = load(str(root / file))
        for collection in meta.get('Collections', []):
            collections.append(collection['Name'])
            assert re.search('arxiv.org|doi.org', collection['Paper']['URL'])
            assert '://' in collection['README'] or (
                root / collection['README']).is_file()
        for model in meta['Models']:
            path = root / model['Config']
            assert path.is_file() and path.stem == model['Name']
            assert model['In Collection'] in collections
            types = Config.fromfile(str(path)).model
            assert model['Metadata']['Architecture'] == [
                types[part].type for part in ('backbone', 'neck')
                if types.get(part)
            ]
            assert model['Metadata']['Training Data'].lower() in path.stem
            weights = model.get('Weights')
            assert not weights or '://' in weights or (root /
                                                       weights).is_file()
            aliases = model.get('Alias', [])
            names += [model['Name']]
            names += [aliases] if isinstance(aliases, str) else aliases
            assert weights or not aliases  # an alias promises weights
    assert len({name.lower() for name in names}) == len(names)
    assert len(set(collections)) == len(collections)


def test_index_lists_all_metafiles(root):
    listed = {
        str(root / file)
        for file in load(str(root / 'model-index.yml'))['Import']
    }
    assert listed == {str(path) for path in (root / 'configs').rglob('*.yml')}


@pytest.mark.promise('base-configs')
def test_base_from_the_installed_package(tmp_path):
    if not is_installed('lgm_pose_plugin'):
        pytest.skip('lgm_pose_plugin is not installed')
    path = tmp_path / 'config.py'
    path.write_text("_base_ = 'lgm_pose_plugin::body_2d_keypoint/"
                    f"topdown_heatmap/coco/{NAME}.py'\n")
    cfg = Config.fromfile(str(path))
    assert cfg.model.backbone.type == 'MobileViM'
    assert import_module('lgm_pose_plugin').__version__
    # As MMPose's functions build it, and as MMEngine's Runner does.
    for build in (build_pose_estimator, MODELS.build):
        assert type(build(cfg.model).backbone).__name__ == 'MobileViM'
    evaluator = METRICS.build(dict(cfg.val_evaluator, ann_file=None))
    assert type(evaluator) is CocoMetric
