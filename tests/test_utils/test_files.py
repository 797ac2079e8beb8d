"""Files that are whole or not there."""
import json
import os

import pytest

from lgm_pose_plugin.utils.files import (JsonListWriter, check_inputs_kept,
                                         check_out_dir, check_out_file,
                                         write_json)


@pytest.mark.promise('failures-are-named')
def test_a_file_stays_until_the_new_one_is_whole(tmp_path):
    path = str(tmp_path / 'folder' / 'a.json')
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [2, object()])
    assert json.load(open(path)) == [1]
    write_json(path, [3])
    assert json.load(open(path)) == [3]
    assert os.listdir(tmp_path / 'folder') == ['a.json']


def test_links_stay_links(tmp_path):
    (tmp_path / 'real').mkdir()
    link = tmp_path / 'link.json'
    link.symlink_to(tmp_path / 'real' / 'a.json')
    for value in (1, 2):
        write_json(str(link), value)
        assert json.loads((tmp_path / 'real' / 'a.json').read_text()) == value
    assert link.is_symlink()
    assert os.listdir(tmp_path / 'real') == ['a.json']


def test_names_as_long_as_can_be(tmp_path):
    name = 'a' * 250 + '.json'
    write_json(str(tmp_path / name), [])
    assert os.listdir(tmp_path) == [name]


def test_lists(tmp_path):
    items = [dict(a=[1, 'two\nlines'], b={}), [], 3]
    writer = JsonListWriter(str(tmp_path / 'folder' / 'a.json'), '  ')
    for item in items:
        writer.write(item)
        assert not (tmp_path / 'folder' / 'a.json').exists()
    writer.close()
    text = (tmp_path / 'folder' / 'a.json').read_text()
    assert text == json.dumps(items, indent='  ')
    assert os.listdir(tmp_path / 'folder') == ['a.json']
    JsonListWriter(str(tmp_path / 'b.json'), lazy=True).close()
    assert os.listdir(tmp_path) == ['folder']
    JsonListWriter(str(tmp_path / 'b.json')).close()
    assert json.loads((tmp_path / 'b.json').read_text()) == []


@pytest.mark.promise('full-disk')
def test_full_disks_keep_lists(tmp_path, full_disk):
    path = tmp_path / 'a.json'
    write_json(str(path), 'old')
    writer = JsonListWriter(str(path))
    with full_disk(), pytest.raises(OSError):
        for _ in range(100):
            writer.write('x' * 1000)
        writer.close()
    writer.close()
    assert json.loads(path.read_text()) == 'old'
    assert os.listdir(tmp_path) == ['a.json']


def test_checks(tmp_path):
    path = tmp_path / 'a.json'
    check_out_file(str(path))
    path.touch()
    check_out_file(str(path))
    with pytest.raises(FileNotFoundError, match='no folder'):
        check_out_file(str(tmp_path / 'gone' / 'a.json'))
    with pytest.raises(ValueError, match='a folder or a device'):
        check_out_file(str(tmp_path))
    with pytest.raises(ValueError, match='a folder or a device'):
        check_out_file(os.devnull)
    check_out_dir(str(tmp_path / 'new' / 'folder'))
    with pytest.raises(ValueError, match='cannot write in .*a.json'):
        check_out_dir(str(tmp_path / 'a.json' / 'folder'))
    link = tmp_path / 'link.json'
    link.symlink_to(path)
    check_inputs_kept([str(path)], [str(tmp_path / 'b.json')])
    with pytest.raises(ValueError, match='a.json is read'):
        check_inputs_kept([str(path)], [str(link)])
