"""Checkpoints of strangers, of other networks, broken ones: every way in."""
import functools
import http.server
import os
import pickle
import socket
import tarfile
import threading
import zipfile

import pytest
import torch
from mmengine.runner import load_checkpoint as load_by_mmengine
from mmpose.apis import MMPoseInferencer, init_model

from lgm_pose_plugin import cli
from lgm_pose_plugin.apis.person_detector import PersonDetector
from lgm_pose_plugin.checkpoint import publishing, unpickling
from lgm_pose_plugin.checkpoint.loading import check_finite, load_checkpoint
from lgm_pose_plugin.models.builder import build_model, load_config

refusing_torch = pytest.mark.skipif(
    not hasattr(torch.serialization, 'safe_globals'),
    reason='MMEngine runs pickles on torch < 2.6, see SECURITY.md')


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return exec, (f'open({self.mark!r}, "w").close()', )


@pytest.fixture(scope='module')
def network(network_files):
    """Config and checkpoint of a small network, and its state dict."""
    config, checkpoint, _ = network_files
    return config, checkpoint, torch.load(
        checkpoint, weights_only=True)['state_dict']


def write_zip(path, weights, mark):
    torch.save(dict(state_dict=weights, meta=Payload(mark)), str(path))


def write_payload_as_weights(path, weights, mark):
    torch.save(dict(state_dict=dict(weights, x=Payload(mark))), str(path))


def write_legacy(path, weights, mark):
    torch.save(
        dict(state_dict=weights, meta=Payload(mark)),
        str(path),
        _use_new_zipfile_serialization=False)


def write_bare_pickle(path, weights, mark):
    path.write_bytes(pickle.dumps(Payload(mark)))


def write_tar(path, weights, mark):
    """As torch 0.1 wrote; its reader unpickles each member."""
    member = path.parent / 'pickle'
    member.write_bytes(pickle.dumps(Payload(mark), 2))
    with tarfile.open(str(path), 'w') as archive:
        for name in ('sys_info', 'pickle', 'storages', 'tensors'):
            archive.add(str(member), name)
    member.unlink()


def write_torchscript(path, weights, mark):
    """An archive that old torch passes on to torch.jit.load."""
    module = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))
    torch.jit.save(module, str(path))
    with zipfile.ZipFile(str(path), 'a') as archive:
        folder = archive.namelist()[0].split('/')[0]
        archive.writestr(f'{folder}/extra.pkl', pickle.dumps(Payload(mark), 2))


PAYLOADS = [
    write_zip, write_payload_as_weights, write_legacy, write_bare_pickle,
    write_tar, write_torchscript
]


@pytest.fixture(params=PAYLOADS)
def payload(request, network, tmp_path):
    """A checkpoint with a payload, and the file that it would write."""
    path, mark = tmp_path / 'in' / 'payload.pth', tmp_path / 'executed'
    path.parent.mkdir()
    request.param(path, network[2], mark)
    return str(path), mark


@pytest.fixture(params=['this torch', 'old torch'])
def any_torch(request, monkeypatch):
    """This torch, and the reader that old torch gets."""
    if request.param == 'old torch':
        monkeypatch.setattr(unpickling, '_has_safe_loading', lambda: False)
    return request.param


@pytest.mark.promise('payloads')
def test_payloads_work(network, tmp_path):
    """Otherwise the tests below would prove nothing."""
    for number, write in enumerate(
        (write_zip, write_payload_as_weights, write_legacy, write_bare_pickle,
         write_tar)):
        path, mark = tmp_path / f'{number}.pth', tmp_path / f'mark{number}'
        write(path, network[2], mark)
        try:
            torch.load(str(path), weights_only=False)
        except (RuntimeError, TypeError, pickle.UnpicklingError):
            pass  # a bare pickle is run and then found to be no checkpoint
        assert mark.exists(), write


@pytest.mark.promise('payloads')
def test_payloads_are_not_executed(payload, any_torch):
    path, mark = payload
    with pytest.raises(ValueError, match='payload.pth: (refused|not a check)'):
        load_checkpoint(path)
    assert not mark.exists()


@pytest.mark.promise('payloads')
def test_commands_refuse_payloads(payload, network, detector_files, tmp_path,
                                  capsys):
    path, mark = payload
    config, _, _ = network
    picture = str(tmp_path / 'in' / 'a.png')
    open(picture, 'wb').close()
    (tmp_path / 'out').mkdir()
    out = str(tmp_path / 'out' / 'file')
    for command in (
        ['export', config, path, '-o', f'{out}.onnx'],
        ['publish', path, '-o', f'{out}.pth'],
        ['predict', picture, '--config', config, '--checkpoint', path, '-o',
         out],
        ['predict', picture, '--detector', detector_files[0],
         '--det-checkpoint', path, '-o', out],
        ['detect', picture, '--detector', detector_files[0],
         '--det-checkpoint', path, '-o', f'{out}.json'],
        ['erf', config, path, '-o', f'{out}.png'],
    ):  # yapf: disable
        assert cli.main(command) == 1, command
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith(f'lgm-pose {command[0]}: {path}: '), lines
    assert not mark.exists()
    assert os.listdir(str(tmp_path / 'out')) == []


@pytest.mark.promise('mmengine-paths')
@refusing_torch
def test_mmengine_refuses_payloads(payload, network):
    """On torch >= 2.6; SECURITY.md says so."""
    path, mark = payload
    for load in (lambda: init_model(network[0], path, device='cpu'),
                 lambda: MMPoseInferencer(
                     pose2d=network[0],
                     pose2d_weights=path,
                     device='cpu',
                     det_model='whole_image'),
                 lambda: load_by_mmengine(torch.nn.ReLU(), path)):
        with pytest.raises(Exception):
            load()
    assert not mark.exists()


@pytest.mark.promise('payloads')
def test_names_that_lead_on(any_torch, tmp_path):
    """A name within an allowed module, or an attribute of an allowed one."""
    for name in (b'ctorch._utils\n_import_dotted_name\n',
                 b'ccollections\nnamedtuple\n', b'ctorch\nload\n',
                 b'ctorch.storage\n_load_from_bytes\n', b'ccodecs\nencode\n',
                 b'cbuiltins\nexec\n', b'c__builtin__\neval\n',
                 b'cos\nsystem\n',
                 b'clgm_pose_plugin.checkpoint.unpickling\n_refuse\n',
                 b'cnumpy\nload\n', b'cmmengine.config\nConfig\n'):
        path = tmp_path / 'hostile.pth'
        torch.save(0, str(path))
        with zipfile.ZipFile(str(path)) as archive:
            files = {n: archive.read(n) for n in archive.namelist()}
        with zipfile.ZipFile(str(path), 'w') as archive:
            for member, content in files.items():
                if member.endswith('data.pkl'):
                    content = b'\x80\x02' + name + b'.'
                archive.writestr(member, content)
        with pytest.raises(ValueError, match='refused'):
            load_checkpoint(path)


@pytest.mark.promise('payloads')
def test_state_is_given_to_data_only(monkeypatch, tmp_path):
    """torch's own reader on new torch has a test upstream."""
    monkeypatch.setattr(unpickling, '_has_safe_loading', lambda: False)
    before = dict(vars(unpickling._HistoryBuffer))
    for name in (b'ctorch._utils\n_rebuild_tensor_v2\n',
                 b'cmmengine.logging.history_buffer\nHistoryBuffer\n',
                 b'cbuiltins\ngetattr\n'):
        # (None, {'x': 1}) as the state: attributes to be set.
        hostile = b'\x80\x02' + name + b'N}X\x01\0\0\0xK\x01s\x86b.'
        path = tmp_path / 'hostile.pth'
        torch.save(0, str(path))
        with zipfile.ZipFile(str(path)) as archive:
            files = {n: archive.read(n) for n in archive.namelist()}
        with zipfile.ZipFile(str(path), 'w') as archive:
            for member, content in files.items():
                archive.writestr(
                    member,
                    hostile if member.endswith('data.pkl') else content)
        with pytest.raises(ValueError, match='refused.*a state for'):
            load_checkpoint(path)
    assert dict(vars(unpickling._HistoryBuffer)) == before
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'x')


def test_good_checkpoints_load_on_any_torch(any_torch, network):
    loaded = load_checkpoint(network[1])
    assert loaded['meta'] == {}
    assert list(loaded['state_dict']) == list(network[2])
    for name, value in loaded['state_dict'].items():
        assert torch.equal(value, network[2][name])


def test_plain_weights_load(any_torch, network, tmp_path):
    path = tmp_path / 'plain.pth'
    torch.save(network[2], str(path))
    assert list(load_checkpoint(path)['state_dict']) == list(network[2])
    model = build_model(load_config(network[0]), str(path))
    for name, value in model.state_dict().items():
        assert torch.equal(value, network[2][name])


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture
def url(tmp_path, monkeypatch):
    """Where tmp_path is served."""
    monkeypatch.setenv('no_proxy', '*')
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01, ))
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """The folder that downloads leave as they found it."""
    folder = tmp_path / 'downloads'
    folder.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(folder))
    return folder


@pytest.mark.promise('payloads-from-urls')
def test_payloads_from_a_url_are_not_executed(payload, any_torch, url,
                                              downloads):
    _, mark = payload
    with pytest.raises(ValueError, match='payload.pth: (refused|not a check)'):
        load_checkpoint(f'{url}/in/payload.pth')
    assert not mark.exists() and not os.listdir(str(downloads))


@pytest.mark.promise('payloads-from-urls')
def test_commands_refuse_payloads_from_a_url(network, detector_files, tmp_path,
                                             url, capsys):
    mark = tmp_path / 'executed'
    write_zip(tmp_path / 'payload.pth', network[2], mark)
    picture = str(tmp_path / 'a.png')
    open(picture, 'wb').close()
    config, hostile, out = network[0], f'{url}/payload.pth', tmp_path / 'out'
    for command in (
        ['export', config, hostile, '-o', f'{out}.onnx'],
        ['predict', picture, '--config', config, '--checkpoint', hostile],
        ['detect', picture, '--detector', detector_files[0],
         '--det-checkpoint', hostile, '-o', f'{out}.json'],
        ['erf', config, hostile, '-o', f'{out}.png'],
    ):  # yapf: disable
        assert cli.main(command) == 1, command
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith(f'lgm-pose {command[0]}: {hostile}: refused')
    assert not mark.exists()


@pytest.mark.promise('mmengine-urls')
def test_mmengine_runs_payloads_from_a_url(network, tmp_path, url,
                                           monkeypatch):
    """If it no longer does, SECURITY.md is to say so."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    mark = tmp_path / 'executed'
    write_zip(tmp_path / 'payload.pth', network[2], mark)
    hostile = f'{url}/payload.pth'
    if hasattr(torch.serialization, 'safe_globals'):
        # What SECURITY.md advises.
        monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
        with pytest.raises(pickle.UnpicklingError):
            load_by_mmengine(torch.nn.ReLU(), hostile)
        assert not mark.exists()
        monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    load_by_mmengine(torch.nn.ReLU(), hostile)
    assert mark.exists()


@pytest.mark.promise('payloads-from-urls')
def test_good_checkpoints_load_from_a_url(any_torch, tmp_path, url, downloads):
    """Each from its own, though they have the same name."""
    for value, folder in enumerate(('a', 'b')):
        (tmp_path / folder).mkdir()
        torch.save(
            dict(state_dict=dict(w=torch.full((1, ), float(value)))),
            str(tmp_path / folder / 'epoch_1.pth'))
    for value, folder in enumerate(('a', 'b')):
        loaded = load_checkpoint(f'{url}/{folder}/epoch_1.pth')
        assert loaded['state_dict']['w'].item() == value
    assert not os.listdir(str(downloads))


@pytest.mark.promise('payloads-from-urls')
def test_urls_that_give_nothing(url, downloads, monkeypatch, capsys):
    # Takes the connection, and that is all.
    with socket.create_server(('127.0.0.1', 0)) as silent:
        mute = f'http://127.0.0.1:{silent.getsockname()[1]}/net.pth'
        for address, cause in ((f'{url}/gone.pth', '404'),
                               ('http://[/net.pth', 'Invalid'), (mute,
                                                                 'timed out')):
            if address == mute:
                monkeypatch.setattr('lgm_pose_plugin.utils.download.TIMEOUT',
                                    0.2)
            with pytest.raises(FileNotFoundError) as error:
                load_checkpoint(address)
            assert f'{address}: cannot be downloaded (' in str(error.value)
            assert cause in str(error.value)
    with pytest.raises(FileNotFoundError, match='refused'):
        load_checkpoint(mute)
    assert not os.listdir(str(downloads))


@pytest.mark.promise('payloads-from-urls')
@pytest.mark.parametrize('address', [
    'ftp://127.0.0.1/net.pth', 'file:///etc/passwd', 's3://bucket/net.pth',
    'torchvision://resnet50'
])
def test_other_urls_are_not_loaded(any_torch, address):
    with pytest.raises(ValueError, match=f'{address}: only http:// and https'):
        load_checkpoint(address)


def other_keypoints(weights):
    """The weights of a network of 14 key points."""
    return {
        name: value[:14] if value.shape[:1] == (17, ) else value
        for name, value in weights.items()
    }


def nan(weights):
    """What a training that diverged leaves."""
    return {
        name: value * float('nan') if value.dim() > 1 else value
        for name, value in weights.items()
    }


def infinite_head(weights):
    """One number too large, in the last layer."""
    weights = {name: value.clone() for name, value in weights.items()}
    weights['head.final_layer.weight'][0, 0] = float('inf')
    return weights


def repeated(weights):
    """A few bytes that ask for all memory."""
    return dict(weights, more=torch.zeros(1).expand(10**14))


def sparse(weights):
    return dict(weights, more=torch.zeros(3).to_sparse())


BROKEN = [
    (repeated,
     'more of .*needs 400,000,000,000,000 bytes, and the file holds 4 '),
    # The reader for old torch knows no such tensors.
    (sparse, 'more is not a dense tensor|holds more than MMEngine stores'),
    (nan, 'is not finite; the training that saved it had diverged'),
    (infinite_head, 'head.final_layer.weight is not finite'),
]
FOREIGN = [
    (other_keypoints,
     'net.pth is not a checkpoint of .*config.py.*final_layer'),
    (lambda weights: {
        'backbone.conv1.weight': torch.zeros(3)
    }, 'net.pth is not a checkpoint of .*not of MobileViM'),
    (lambda weights: {}, 'net.pth: holds no `state_dict` of tensors'),
    (lambda weights: {
        1: torch.zeros(3)
    }, 'holds no `state_dict`'),
    (lambda weights: [torch.zeros(3)], 'holds no `state_dict`'),
]


@pytest.mark.promise('foreign-weights')
@pytest.mark.parametrize('change, match', BROKEN + FOREIGN)
def test_other_weights_are_refused(network, tmp_path, change, match, capsys):
    config, _, weights = network
    path = str(tmp_path / 'net.pth')
    torch.save(dict(state_dict=change(weights)), path)
    with pytest.raises(ValueError, match=match):
        build_model(load_config(config), path)
    assert cli.main(['export', config, path, '-o',
                     str(tmp_path / 'net.onnx')]) == 1
    error, = capsys.readouterr().err.strip().splitlines()[-1:]
    assert error.startswith('lgm-pose export: ') and path in error
    assert os.listdir(str(tmp_path)) == ['net.pth']


@pytest.mark.promise('foreign-weights')
@pytest.mark.parametrize('change, match', BROKEN)
def test_broken_weights_are_not_published(network, tmp_path, change, match):
    path = tmp_path / 'net.pth'
    torch.save(dict(state_dict=change(network[2])), str(path))
    with pytest.raises(ValueError, match=match):
        publishing.publish_checkpoint(path)
    assert os.listdir(str(tmp_path)) == ['net.pth']


@pytest.mark.promise('foreign-weights')
def test_mmengine_refuses_what_the_backbone_sees(network, tmp_path):
    """By the backbone, whoever loads: init_model, the inferencers, mim."""
    config, _, weights = network
    path = str(tmp_path / 'net.pth')
    for change, match in ((nan, 'weights of MobileViM are broken: backbone'),
                          (FOREIGN[1][0], 'not of MobileViM')):
        torch.save(dict(state_dict=change(weights)), path)
        with pytest.raises(ValueError, match=match):
            init_model(config, path, device='cpu')


@pytest.mark.promise('truncated')
@pytest.mark.parametrize('length', [0, 1, 2, 30, 1000, 0.5, -1])
def test_truncated(any_torch, network, tmp_path, length):
    with open(network[1], 'rb') as file:
        data = file.read()
    if isinstance(length, float):
        length = int(len(data) * length)
    path = tmp_path / 'cut.pth'
    path.write_bytes(data[:length])
    with pytest.raises(ValueError, match='cut.pth: not a checkpoint, or trun'):
        load_checkpoint(path)
    with pytest.raises(Exception):
        init_model(network[0], str(path), device='cpu')


def test_meta_of_strangers(any_torch, network, detector_files, tmp_path):
    """Of any type: what is of no use is left out."""
    path = str(tmp_path / 'd.pth')
    weights = torch.load(detector_files[1], weights_only=True)['state_dict']
    for meta in (7, [1], dict(dataset_meta=5), dict(CLASSES=3.5),
                 dict(dataset_meta=dict(classes={'person': 1}))):
        torch.save(dict(state_dict=weights, meta=meta), path)
        assert PersonDetector(detector_files[0], path).cat_ids == [1]
        assert publishing.publish_checkpoint(path)


def test_more_weights_than_saved():
    few = torch.zeros(1)
    check_finite(dict(a=few.expand(1 << 22)), 'it')  # 16 MB
    with pytest.raises(ValueError, match='the file holds 4 of them'):
        check_finite(dict(a=few.expand((1 << 22) + 1)), 'it')
