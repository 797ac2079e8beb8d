"""Detectors of the model zoos."""
import functools
import http.server
import os.path as osp
import threading
from importlib.util import find_spec

import pytest

from lgm_pose_plugin.apis import detector_zoo as zoo


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'lgm_pose_plugin'


@pytest.fixture
def server(tmp_path):
    """A server of a file; its address."""
    folder = tmp_path / 'served'
    folder.mkdir()
    (folder / 'net-1.pth').write_bytes(b'w' * 2500000)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.HTTPServer(('127.0.0.1', 0), handler) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{one.server_port}'
        one.shutdown()
        thread.join()


# Before MMPose 1.3.
needs_config = pytest.mark.skipif(
    not osp.isfile(
        osp.join(osp.dirname(find_spec('mmpose').origin), *zoo.AUTO_CONFIG)),
    reason='this MMPose brings no config of it')


@needs_config
def test_auto_is_the_default_of_mmpose():
    module = pytest.importorskip(
        'mmpose.apis.inferencers.utils.default_det_models')
    default = module.default_det_models['human']
    config = osp.join(
        osp.dirname(__import__('mmpose').__file__), *zoo.AUTO_CONFIG)
    assert osp.samefile(default['model'], config)
    assert default['weights'] == zoo.AUTO_URL
    assert default['cat_ids'] == (0, )


@needs_config
@pytest.mark.promise('downloads')
def test_weights_are_downloaded_once(cache, server, monkeypatch, capsys):
    monkeypatch.setattr(zoo, 'AUTO_URL', f'{server}/net-1.pth')
    config, weights = zoo.zoo_weights('auto')
    assert osp.isfile(config) and weights == str(cache / 'net-1.pth')
    assert osp.getsize(weights) == 2500000
    told = f'downloading {server}/net-1.pth (2.5 MB)'
    assert told in capsys.readouterr().err
    assert zoo.zoo_weights('auto') == (config, weights)
    assert not capsys.readouterr().err


@needs_config
@pytest.mark.promise('downloads')
def test_a_broken_download_leaves_nothing(cache, server, monkeypatch):
    send = http.server.SimpleHTTPRequestHandler.copyfile
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'copyfile',
                        lambda self, source, out: out.write(source.read(1000)))
    monkeypatch.setattr(zoo, 'AUTO_URL', f'{server}/net-1.pth')
    with pytest.raises(
            FileNotFoundError, match='1000 of 2500000 bytes|'
            'IncompleteRead'):
        zoo.zoo_weights('auto')
    assert not list(cache.iterdir())
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'copyfile', send)
    assert osp.isfile(zoo.zoo_weights('auto')[1])


def test_models_of_mmdetection(cache, server, monkeypatch):
    pytest.importorskip('mmdet')
    from lgm_pose_plugin import model_index
    assert model_index.find_model('rtmdet-m',
                                  'mmdet')['Weights'].endswith('.pth')
    model = dict(Config='config.py', Weights=f'{server}/net-1.pth')
    monkeypatch.setattr(
        model_index, 'find_model', lambda name, package: model
        if name == 'known' else None)
    assert zoo.zoo_weights('known') == ('config.py', str(cache / 'net-1.pth'))
    with pytest.raises(ValueError, match='unknown is not a model of MMDet'):
        zoo.zoo_weights('unknown')


@pytest.mark.parametrize('package', ['mmdet', 'mmpose', 'onnx'])
def test_what_the_export_needs_is_told_before_the_download(
        cache, monkeypatch, package):
    monkeypatch.setattr(
        zoo, 'find_spec', lambda name: None
        if name == package else find_spec(name))
    with pytest.raises(ImportError, match=rf'{package} is not .*\[export\]'):
        zoo.export_once('auto')
    assert not cache.exists()


@pytest.mark.parametrize('name', ['a/b.py', '../up', 'config.py', ''])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match='neither a file of .* nor a model'):
        zoo.cached_detector(name)
