"""The effective receptive field and `lgm-pose erf`."""
import copy
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from lgm_pose_plugin.analysis import erf
from lgm_pose_plugin.cli import main
from lgm_pose_plugin.models.builder import load_config as load_any_config
from lgm_pose_plugin.visualization import figures

RENDERED = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'
RTMPOSE = ('mmpose::body_2d_keypoint/rtmpose/coco/'
           'rtmpose-t_8xb256-420e_coco-256x192.py')
HEAT_MAPS = 2


class Network(nn.Module):
    """A network with MMPose's call, of layers and a form of output."""

    def __init__(self, *layers, form=lambda maps: maps):
        super().__init__()
        self.layers, self.form = nn.Sequential(*layers), form

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor' and data_samples is None
        assert not self.training
        return self.form(self.layers(inputs))


def box(in_channels=1, kernel=3, stride=1):
    """A convolution with weights of 1."""
    conv = nn.Conv2d(
        in_channels, HEAT_MAPS, kernel, stride, padding=kernel // 2)
    nn.init.ones_(conv.weight)
    return conv


def kernel_at(y, x, rows, shape=(12, 16)):
    """A separable kernel with its middle at (y, x), which sums to 1."""
    expected, reach = np.zeros(shape), len(rows) // 2
    expected[y - reach:y + reach + 1,
             x - reach:x + reach + 1] = np.outer(rows, rows)
    return expected / expected.sum()


@pytest.fixture
def path(root):
    found, = (root / 'configs').rglob(f'{RENDERED}.py')
    return str(found)


@pytest.fixture
def network(load_config, randomize):
    model = erf.build_model(load_config(RENDERED))
    return randomize(model)


@pytest.mark.promise('receptive-fields')
def test_convolutions_have_their_kernel():
    images = torch.randn(3, 1, 12, 16)
    one, location = erf.effective_receptive_field(Network(box()), images, 0)
    assert location == (8, 6)
    np.testing.assert_allclose(one, kernel_at(6, 8, [1, 1, 1]), atol=1e-12)
    two, _ = erf.effective_receptive_field(
        Network(box(), box(HEAT_MAPS)), images, 1)
    np.testing.assert_allclose(
        two, kernel_at(6, 8, [1, 2, 3, 2, 1]), atol=1e-9)
    assert two[6, 11] == two[3, 8] == 0
    assert erf.area_share(two, 1) == 25 / (12 * 16)
    # variance of a box of 3 pixels: 2 / 3; two boxes, two axes
    assert erf.spread(two, location) == pytest.approx((4 * 2 / 3)**.5)


def test_channels_add_up_and_signs_do_not_cancel():
    conv = nn.Conv2d(2, 1, 1)
    conv.weight.data[:] = torch.tensor([1., -1.])[:, None, None]
    field, _ = erf.effective_receptive_field(
        Network(conv), torch.randn(1, 2, 4, 4), 0)
    assert field[2, 2] == 1 and field.sum() == 1


def test_each_input_counts_the_same():

    class Square(nn.Module):

        def forward(self, x):
            return x**2

    # The gradient of the first input is a million times the second's.
    images = torch.zeros(2, 1, 5, 5)
    images[0, 0, 2, 1], images[1, 0, 2, 3] = 1e6, 1
    field, _ = erf.effective_receptive_field(
        Network(Square(), box()), images, 0)
    assert field[2, 1] == field[2, 3] == .5


@pytest.mark.parametrize('stride', [1, 2])
def test_peaks_meet_in_the_middle(stride):
    network = Network(box(), box(HEAT_MAPS, stride=stride))
    images = torch.zeros(3, 1, 12, 16)
    for image, (y, x) in zip(images, [(4, 4), (8, 10), (6, 8)]):
        image[0, y, x] = 1
    field, location = erf.effective_receptive_field(
        network, images, 0, at='peak')
    assert location == (8, 6)
    np.testing.assert_allclose(
        field, kernel_at(6, 8, [1, 2, 3, 2, 1]), atol=1e-9)
    moved = torch.roll(images, (-stride, stride), (2, 3))
    again, _ = erf.effective_receptive_field(network, moved, 0, at='peak')
    np.testing.assert_array_equal(field, again)


def test_what_leaves_the_map_is_lost():
    image = torch.zeros(1, 1, 12, 16)
    image[0, 0, 0, 0] = 1
    network = Network(box(), box(HEAT_MAPS))
    network.form = lambda maps: maps + 100 * image
    field, _ = erf.effective_receptive_field(network, image, 0, at='peak')
    assert field.sum() == pytest.approx(1)
    assert not field[:6].any() and not field[:, :8].any()


def test_simcc():
    # Maps of the input's size; two bins per column, one per row.
    def simcc(maps):
        return maps.sum(2).repeat_interleave(2, dim=2), maps.sum(3)

    image = torch.zeros(1, 1, 4, 6)
    network = Network(nn.Conv2d(1, 1, 1), form=simcc)
    field, location = erf.effective_receptive_field(network, image, 0)
    assert location == (3, 2)
    # The column, the row, and where they cross twice.
    expected = np.zeros((4, 6))
    expected[:, 3] += 1
    expected[2] += 1
    np.testing.assert_allclose(field, expected / expected.sum())
    image[0, 0, 1, 4] = 1 / network.layers[0].weight.item()
    peak, location = erf.effective_receptive_field(network, image, 0, 'peak')
    # Moved down by one row and left by one column.
    expected[0], expected[:, 5] = 0, 0
    np.testing.assert_allclose(peak, expected / expected.sum())


def test_last_stage_counts():
    network = Network(box(), form=lambda maps: [0 * maps, 2 * maps, maps])
    images = torch.randn(1, 1, 12, 16)
    field, _ = erf.effective_receptive_field(network, images, 0)
    np.testing.assert_allclose(field, kernel_at(6, 8, [1, 1, 1]), atol=1e-12)
    network.form = lambda maps: (maps, 0 * maps)
    with pytest.raises(ValueError, match='key point 1.*input 0 adds up to 0'):
        erf.effective_receptive_field(network, images, 1)


@pytest.mark.parametrize('form', [
    lambda maps: maps.sum(3),
    lambda maps: (maps, maps[:, 1:]),
    lambda maps: (maps.sum(3), maps),
    lambda maps: (maps.sum(3), maps.sum(3)[:, 1:]),
    lambda maps: [[maps]],
    lambda maps: [],
    lambda maps: dict(maps=maps),
    lambda maps: None,
])
def test_other_outputs_are_refused(form):
    with pytest.raises(ValueError, match=r'\(B, K, H, W\).*bottom-up'):
        erf.effective_receptive_field(
            Network(box(), form=form), torch.randn(1, 1, 8, 8), 0)


def test_bad_arguments():
    images = torch.randn(2, 1, 8, 8)
    for keypoint in (2, -1):
        with pytest.raises(ValueError, match=f'no key point {keypoint}.* 2,'):
            erf.effective_receptive_field(Network(box()), images, keypoint)
    with pytest.raises(ValueError, match="'corner', must be 'center' or"):
        erf.effective_receptive_field(Network(box()), images, 0, 'corner')
    # Dead, cut off, and not finite.
    for form in (lambda maps: 0 * maps,
                 lambda maps: maps.detach().requires_grad_(),
                 lambda maps: maps * np.inf):
        with pytest.raises(ValueError, match='another checkpoint'):
            erf.effective_receptive_field(Network(box(), form=form), images, 0)


def test_area_share():
    field = np.array([[.5, .25, .125, .125], [0, 0, 0, 0]])
    for fraction, pixels in ((.5, 1), (.51, 2), (.75, 2), (.8, 3), (1, 4)):
        assert erf.area_share(field, fraction) == pixels / 8
    assert erf.area_share(np.full((4, 4), 1 / 16), .5) == .5


def test_spread():
    field = np.zeros((5, 7))
    field[1, 2] = 1
    assert erf.spread(field, (2, 1)) == 0
    assert erf.spread(field, (5, 5)) == 5
    field[1, 2] = field[1, 4] = .5
    assert erf.spread(field, (3, 1)) == 1


def replaced(model, name):
    """A copy with nn.Identity in place of the modules of a class."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for key, child in list(parent.named_children()):
            if type(child).__name__ == name:
                setattr(parent, key, nn.Identity())
    return model


@pytest.mark.parametrize('name', ['LARM', 'ReLU'])
def test_bypass_is_an_identity(network, name):
    if name == 'ReLU':  # the kind that changes its input
        network = Network(box(3), nn.ReLU(inplace=True), box(HEAT_MAPS)).eval()
    images = torch.randn(2, 3, 128, 96)
    with torch.no_grad():
        before = network(images, None, mode='tensor')
        with erf.bypass(network, name):
            without = network(images, None, mode='tensor')
        expected = replaced(network, name)(images, None, mode='tensor')
        after = network(images, None, mode='tensor')
    torch.testing.assert_close(without, expected, rtol=0, atol=0)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert not torch.allclose(without, before)


def test_bypass_refuses(network):
    images = torch.randn(1, 3, 128, 96)
    with pytest.raises(ValueError, match='LRAM; choose one of .*, LARM, '):
        with erf.bypass(network, 'LRAM'):
            pass
    for name in ('Conv2d', 'MobileViM', 'SFusionNeck'):
        with pytest.raises(ValueError, match=f'{name} cannot be left out'):
            with erf.bypass(network, name):
                network(images, None, mode='tensor')
    with pytest.raises(ValueError, match='KeypointMSELoss changes nothing'):
        with erf.bypass(network, 'KeypointMSELoss'):
            network(images, None, mode='tensor')
    assert not any(m._forward_hooks or m._forward_pre_hooks
                   for m in network.modules())


def test_keypoint_names(load_config):
    cfg = load_config(RENDERED)
    assert erf.keypoint_index(cfg, 'nose') == 0
    assert erf.keypoint_index(cfg, 'left_wrist') == 9
    assert erf.keypoint_index(cfg, '12') == 12
    mpii = load_config('td-hm_lgm-pose_1xb32-260e_mpii-256x256')
    assert erf.keypoint_index(mpii, 'left_wrist') == 15
    with pytest.raises(ValueError, match="'noes'.*index.*nose, left_eye"):
        erf.keypoint_index(cfg, 'noes')
    for keypoint in ('-1', 'nose'):
        with pytest.raises(ValueError, match='give an index'):
            erf.keypoint_index(Config(), keypoint)


def test_random_weights_are_random_and_not_downloaded(monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('the network was used')

    monkeypatch.setattr('socket.socket.connect', refuse)
    cfg = load_any_config(RTMPOSE)
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    model = erf.build_model(cfg, seed=1)
    assert cfg.model.backbone.init_cfg.type == 'Pretrained'
    inputs = erf.noise_inputs(model, 1, seed=1)
    assert inputs.shape == (1, 3, 256, 192)
    field, location = erf.effective_receptive_field(model, inputs, 5)
    assert location == (96, 128) and field.sum() == pytest.approx(1)
    assert torch.equal(erf.noise_inputs(model, 3, 1)[:1], inputs)
    assert not torch.equal(erf.noise_inputs(model, 1, 2), inputs)


def test_checkpoint(network, load_config, tmp_path):
    cfg, path = load_config(RENDERED), tmp_path / 'weights.pth'
    torch.save(dict(state_dict=network.state_dict()), str(path))
    loaded = erf.build_model(cfg, str(path))
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert not loaded.training
    other = dict(network.state_dict(), other=torch.zeros(1))
    torch.save(dict(state_dict=other), str(path))
    with pytest.raises(
            ValueError, match='not a checkpoint of .*rendered.*other'):
        erf.build_model(cfg, str(path))
    path.write_bytes(b'PK\3\4 nothing')
    with pytest.raises(ValueError, match='weights.pth: not a checkpoint'):
        erf.build_model(cfg, str(path))
    with pytest.raises(
            FileNotFoundError, match='absent.pth: there is no such file'):
        erf.build_model(cfg, str(tmp_path / 'absent.pth'))


def test_not_top_down(tmp_path, load_config):
    path = tmp_path / 'other.py'
    path.write_text('a = 1')
    with pytest.raises(ValueError, match='other.py does not define a top'):
        erf.build_model(Config.fromfile(str(path)))
    model = erf.build_model(load_config(RENDERED, model__head__decoder=None))
    with pytest.raises(ValueError, match='has no input_size'):
        erf.noise_inputs(model, 1)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        image = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f'{i}.png'), image)
    return tmp_path


def run(capsys, *args):
    """Run the command; return its status and what it printed."""
    status = main(['erf', *map(str, args)])
    return (status, *capsys.readouterr())


@pytest.mark.e2e
def test_command(capsys, path, tmp_path, network):
    checkpoint, out = tmp_path / 'weights.pth', tmp_path / 'erf.png'
    torch.save(dict(state_dict=network.state_dict()), str(checkpoint))
    args = (path, checkpoint, '--compare', path, '--without', 'LARM',
            '--compare', path, checkpoint, '--keypoint', 'left_ankle',
            '--samples', 2, '-o', out)
    status, text, _ = run(capsys, *args, '--format', 'json')
    assert status == 0
    report = json.loads(text)
    rows = report.pop('panels')
    assert report == dict(
        keypoint='left_ankle',
        at='center',
        inputs='noise',
        seed=0,
        picture=str(out))
    assert [(row['without'], row['checkpoint'])
            for row in rows] == [(None, 'weights.pth'),
                                 ('LARM', 'weights.pth'), (None, None),
                                 (None, 'weights.pth')]
    for row in rows:
        assert row['config'] == RENDERED and row['keypoint'] == 15
        assert row['samples'] == 2 and row['input_size'] == [128, 96]
        assert row['location'] == [48, 64]
        assert 0 < row['area_50'] < row['area_95'] < 100
        assert row['rms_distance'] > 1
    assert rows[0]['area_95'] > 1.5 * rows[1]['area_95']
    # The same inputs and weights: the same figures.
    assert rows[0] == rows[3]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        'erf.png', 'weights.pth'
    ]
    picture = cv2.imread(str(out))
    assert picture.shape == (630, 1830, 3)
    # The crosses' colour: cyan lies in each of the four panels.
    _, columns = np.nonzero((picture == [255, 255, 0]).all(axis=2))
    groups = np.split(
        np.unique(columns),
        np.nonzero(np.diff(np.unique(columns)) > 50)[0] + 1)
    assert len(groups) == 4

    first = out.read_bytes()
    status, text, _ = run(capsys, *args)
    assert status == 0 and out.read_bytes() == first
    lines = text.splitlines()
    assert lines[2].startswith(
        f'| {RENDERED} |  | weights.pth | 128x96 | 2 | 48, 64 | ')
    assert f'| {RENDERED} |  | random weights |' in lines[4]
    assert len(lines[0].split('|')) == len(lines[2].split('|'))
    assert lines[-1] == f'- picture: {out}'


def test_seed(path):
    fields = [
        erf.measure([(path, None)], samples=1, seed=seed)[0].erf
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(fields[0], fields[1])
    assert not np.allclose(fields[0], fields[2])


def test_people_and_pictures_of_all_networks(capsys, path, tmp_path, pictures,
                                             coco_root):
    args = ('--at', 'peak', '--compare', path, '--format', 'json', '-o',
            tmp_path / 'erf.png', '--samples', 2)
    # Options reach the first network alone; the people are the same.
    options = ('--cfg-options', f'test_dataloader.dataset.data_root='
               f'{coco_root}')
    for inputs in (('--images', pictures), ('--dataset', *options)):
        status, text, _ = run(capsys, path, *args, *inputs)
        report = json.loads(text)
        assert status == 0 and report['inputs'] == inputs[0][2:]
        first, second = report['panels']
        assert first == second and first['samples'] == 2


@pytest.mark.promise('one-line-errors')
@pytest.mark.parametrize('args, message', [
    (['--without', 'Nothing'], 'no module of class Nothing'),
    (['--keypoint', 'hand'], "no key point 'hand'"),
    (['--keypoint', '17'], 'no key point 17; the network predicts 17'),
    (['--samples', '0'], 'samples must be at least 1, got 0'),
    (['--compare', 'a', 'b', 'c'], '--compare takes .* got a b c'),
    (['--compare', 'absent.py'], "no config 'absent.py'"),
    (['--compare', 'rtmpose-t', 'absent.pth'
      ], 'absent.pth: there is no such file'),
    (['--cfg-options', 'a'], '--cfg-options takes KEY=VALUE, got a'),
    (['--images', 'absent'], 'no picture or folder absent'),
    (['--dataset'], 'data set of .* cannot be read'),
])
def test_failure_is_one_line_and_leaves_nothing(capsys, path, tmp_path,
                                                monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    status, text, error = run(capsys, path, '--samples=1', *args)
    assert status == 1 and not text
    lines = [line for line in error.splitlines() if 'lgm-pose erf: ' in line]
    assert len(lines) == 1 and 'Traceback' not in error
    assert re.search(message, lines[0])
    assert not list(tmp_path.iterdir())


def test_out_is_checked_first(capsys, path, tmp_path, monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('the work was begun')

    monkeypatch.setattr(erf, 'load_config', refuse)
    (tmp_path / 'folder.png').mkdir()
    for out, message in (('absent/erf.png', 'no folder .*absent'),
                         ('erf.abc', 'erf.abc.*[.]pdf.*[.]png'),
                         ('erf', 'unknown kind'), ('folder.png',
                                                   'cannot write')):
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            figures.check_picture_path(str(tmp_path / out))
        assert run(capsys, path, '-o', tmp_path / out)[0] == 1
    monkeypatch.setattr('os.access', lambda *args: False)
    with pytest.raises(ValueError, match='cannot write.*another place'):
        figures.check_picture_path(str(tmp_path / 'erf.png'))
    assert [file.name for file in tmp_path.iterdir()] == ['folder.png']


def test_failed_writing_keeps_the_old_picture(capsys, path, tmp_path,
                                              monkeypatch):

    def fill_disk(figure, temporary, **kwargs):
        with open(temporary, 'w') as file:
            file.write('half')
        raise OSError('No space left on device')

    out = tmp_path / 'erf.png'
    out.write_text('old')
    monkeypatch.setattr('matplotlib.figure.Figure.savefig', fill_disk)
    status, _, error = run(capsys, path, '--samples=1', '-o', out)
    assert status == 1 and 'No space left' in error
    assert [file.name for file in tmp_path.iterdir()] == ['erf.png']
    assert out.read_text() == 'old'
