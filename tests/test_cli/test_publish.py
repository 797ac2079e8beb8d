import pytest
import torch

from lgm_pose_plugin.cli import main, publish


def call(*args):
    import argparse
    parser = argparse.ArgumentParser()
    publish.add_arguments(parser)
    return publish.run(parser.parse_args([str(arg) for arg in args]))


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    torch.save(
        dict(
            meta=dict(epoch=3, cfg="work_dir = '/home/me'\na = 1\n"),
            state_dict=dict(weight=torch.arange(3.)),
            optimizer=dict(state={})), str(path))
    return path


def test_prints_the_path(checkpoint, tmp_path, capsys):
    assert call(checkpoint) == 0
    written, = tmp_path.glob('epoch_3-*.pth')
    assert capsys.readouterr().out.strip() == str(written)


def test_out_names_folder_or_file(checkpoint, tmp_path):
    assert call(checkpoint, '-o', tmp_path / 'folder') == 0
    assert call(checkpoint, '--out', tmp_path / 'file' / 'lgm.pth') == 0
    assert len(list(tmp_path.glob('folder/epoch_3-*.pth'))) == 1
    assert len(list(tmp_path.glob('file/lgm-*.pth'))) == 1


def test_unwritable_place_is_one_error(checkpoint):
    with pytest.raises(OSError, match='epoch_3'):
        call(checkpoint, '-o', checkpoint / 'folder')


@pytest.mark.promise('one-line-errors')
def test_command_line_ends_with_one_line(tmp_path, capsys):
    path = tmp_path / 'broken.pth'
    path.write_bytes(b'PK\3\4 nothing')
    assert main(['publish', str(path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(path) in error and 'download it again' in error
    assert list(tmp_path.iterdir()) == [path]
