"""The server of the web page, and the page's own tests where npm is."""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lgm_pose_plugin.cli import main, web
from lgm_pose_plugin.runtime.pose_runtime import find_model

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = 'lgm-pose_body17-256x192'
FAST = 'lgm-pose-fast_body17-256x192'


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page in place of the built one."""
    folder = tmp_path / 'page'
    (folder / 'assets').mkdir(parents=True)
    for name in ('index.html', 'assets/main.js', 'assets/a.mjs',
                 'assets/ort.wasm'):
        (folder / name).write_text(name)
    monkeypatch.setattr(web, 'PAGE', folder)
    return folder


@pytest.fixture
def get(page):
    """Ask a server of the page for a path."""
    server = web.make_server('127.0.0.1', 0, [])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def get(path, method='GET'):
        connection = http.client.HTTPConnection(*server.server_address)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    yield get
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize('path, name, kind', [
    ('/', 'index.html', 'text/html; charset=utf-8'),
    ('/index.html?x=1', 'index.html', 'text/html; charset=utf-8'),
    ('/assets/main.js', 'assets/main.js', 'text/javascript; charset=utf-8'),
    ('/assets/a%2Emjs', 'assets/a.mjs', 'text/javascript; charset=utf-8'),
    ('/assets/ort.wasm', 'assets/ort.wasm', 'application/wasm'),
])
def test_files_of_the_page(get, path, name, kind):
    answer, body = get(path)
    assert (answer.status, body.decode()) == (200, name)
    assert answer.getheader('Content-Type') == kind
    # Without both, browsers give a page one thread.
    assert answer.getheader('Cross-Origin-Opener-Policy') == 'same-origin'
    assert answer.getheader('Cross-Origin-Embedder-Policy') == 'require-corp'


@pytest.mark.parametrize('path', [
    '/assets', '/assets/', '/..', '/../secret', '/%2e%2e/secret',
    '/assets/../../secret', '//etc/passwd', '/models/', '/models/x.onnx',
    '/index.html/', '/\\..\\secret'
])
def test_nothing_else_is_served(get, page, path):
    (page.parent / 'secret').write_text('secret')
    answer, body = get(path)
    assert answer.status == 404
    assert b'secret' not in body


def test_other_methods(get):
    answer, body = get('/', 'HEAD')
    assert (answer.status, body) == (200, b'')
    assert answer.getheader('Content-Length') == '10'
    assert get('/', 'POST')[0].status == 501


def test_models_of_the_package(get):
    listed, fast = json.loads(get('/models/index.json')[1])
    assert (listed['name'], fast['name']) == (SHIPPED, FAST)
    assert (listed['task'], listed['precision']) == ('pose', 'float32')
    answer, body = get(f'/models/{listed["file"]}')
    assert body == Path(find_model(SHIPPED)).read_bytes()
    assert len(body) == listed['bytes']


def test_models_of_the_user(page, tmp_path):
    file = tmp_path / 'mine.onnx'
    shutil.copy(find_model(SHIPPED), file)
    contents = web.find_contents([str(file)])
    assert contents['/models/mine.onnx'] == file
    names = [one['name'] for one in json.loads(contents['/models/index.json'])]
    assert names == ['mine', SHIPPED, FAST]


def test_a_model_that_stands_in_for_one_of_the_package(page, tmp_path):
    file = tmp_path / f'{SHIPPED}.onnx'
    shutil.copy(find_model(SHIPPED), file)
    contents = web.find_contents([str(file)])
    assert contents[f'/models/{SHIPPED}.onnx'] == file
    names = [one['name'] for one in json.loads(contents['/models/index.json'])]
    assert names == [SHIPPED, FAST]


@pytest.mark.parametrize('name, content, message', [
    ('net.xml', b'', 'not an .onnx file'),
    ('missing.onnx', None, 'there is no file'),
    ('empty.onnx', b'', 'holds no metadata'),
    ('text.onnx', b'<html>', 'not an ONNX file'),
])
def test_wrong_models(page, tmp_path, capsys, name, content, message):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert main(['web', '--port', '0', '--model', str(file)]) == 1
    error = capsys.readouterr().err
    assert message in error and name in error


def test_two_models_of_one_name(page, tmp_path):
    files = [tmp_path / folder / 'net.onnx' for folder in 'ab']
    for file in files:
        file.parent.mkdir()
        shutil.copy(find_model(SHIPPED), file)
    with pytest.raises(ValueError, match='two files of --model are named net'):
        web.find_contents(list(map(str, files)))


def test_without_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(web, 'PAGE', tmp_path)
    assert main(['web']) == 1
    assert 'make web' in capsys.readouterr().err


def test_a_port_that_is_taken(page, capsys):
    with web.make_server('127.0.0.1', 0, []) as server:
        port = server.server_address[1]
        assert main(['web', '--port', str(port)]) == 1
    error = capsys.readouterr().err
    assert f'cannot listen at 127.0.0.1:{port}' in error and '--port' in error


def test_a_port_that_cannot_be(page, capsys):
    assert main(['web', '--port', '70000']) == 1
    assert '--port is 0 to 65535' in capsys.readouterr().err


@pytest.mark.skipif(os.name == 'nt', reason='other signals')
def test_interrupt_ends_it_quietly(page):
    script = ('import pathlib, sys; from lgm_pose_plugin.cli import main, web;'
              'web.PAGE = pathlib.Path(sys.argv[1]);'
              'sys.exit(main(["web", "--port", "0"]))')
    command = [sys.executable, '-c', script, str(page)]
    with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=str(ROOT),
            # Not ignored, as in the background of a shell.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith('http://127.0.0.1:')
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == ('', '')
        finally:
            process.kill()
    assert process.returncode == 0


def test_the_lock_file_names_no_registry():
    packages = json.loads((ROOT / 'web/package-lock.json').read_text())
    assert all('integrity' in one and 'resolved' not in one
               for name, one in packages['packages'].items() if name)


built = pytest.mark.skipif(
    not (web.PAGE / 'index.html').is_file(), reason='no page; run make web')


@built
def test_the_page_names_no_other_host():
    """But in messages and comments of the libraries."""
    known = {
        b'https://rolldown.rs/in-depth/bundling-cjs',
        b'https://web.dev/cross-origin-isolation-guide/'
    }
    for path in web.PAGE.rglob('*'):
        if path.suffix in ('.html', '.js', '.mjs', '.css', '.json'):
            found = set(
                re.findall(rb'(?:https?|wss?)://[\w./-]+', path.read_bytes()))
            assert found <= known, path


@built
@pytest.mark.e2e
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    not (shutil.which('npm') and (ROOT / 'web/node_modules').is_dir()),
    reason='no npm, or no web/node_modules; run make web')
def test_the_page():
    """In Node.js, and in Chromium where there is one."""
    subprocess.run(['npm', 'test'],
                   check=True,
                   cwd=str(ROOT / 'web'),
                   env=dict(os.environ, PYTHON=sys.executable))
