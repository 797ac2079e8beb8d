"""serve the page that finds key points in a browser

The page takes pictures, videos and the camera, runs the network itself and
sends nothing. `make web` builds it in a clone, and a package that is built
afterwards holds it. The page offers the networks of the package and the files
of --model. Ctrl-C ends the server.

example: lgm-pose web --model lgm-pose.onnx rtmdet.onnx
"""
import argparse
import json
import os.path as osp
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Sequence, Union
from urllib.parse import unquote, urlsplit

from .options import add_number

# Where `make web` puts the page.
PAGE = Path(__file__).parents[1] / '.web'
TYPES = {
    '.css': 'text/css; charset=utf-8',
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.json': 'application/json',
    '.md': 'text/plain; charset=utf-8',
    '.mjs': 'text/javascript; charset=utf-8',
    '.svg': 'image/svg+xml',
    '.wasm': 'application/wasm',
}
HEADERS = {
    # Together they isolate the page, which may then use several threads.
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
    'Cross-Origin-Resource-Policy': 'same-origin',
    # Of the page's worker; the page has more in a <meta>.
    'Content-Security-Policy': "default-src 'self' 'wasm-unsafe-eval' blob:",
    'Cache-Control': 'no-cache',
    'X-Content-Type-Options': 'nosniff',
}

# What an address gives: a file, or the bytes themselves.
Content = Union[Path, bytes]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose web``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        '--model',
        nargs='+',
        default=[],
        metavar='FILE',
        help='networks and person detectors to offer as well, .onnx files of '
        '`lgm-pose export`; the first network is chosen')
    add_number(parser, '--port', 8765, 'port; 0 takes a free one')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at; 0.0.0.0 shows the page to the network, '
        'where browsers give it neither the camera nor threads (default: '
        '%(default)s, this machine alone)')


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If the page was not built, or a file is missing.
        OSError: If the address cannot be listened at.
        ValueError: If a file is not an exported network.
    """
    server = make_server(args.host, args.port, args.model)
    try:
        print(
            f'http://{args.host}:{server.server_port}/ (Ctrl-C ends)',
            flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


def make_server(host: str, port: int,
                models: Sequence[str]) -> ThreadingHTTPServer:
    """Make a server of the page.

    Args:
        host (str): The address to listen at.
        port (int): The port, 0 for a free one.
        models (Sequence[str]): Exported files to offer.

    Returns:
        ThreadingHTTPServer: The server.

    Raises:
        FileNotFoundError: See :func:`run`.
        OSError: See :func:`run`.
        ValueError: See :func:`run`, or if the port cannot be.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f'--port is 0 to 65535, not {port}')
    contents = find_contents(models)

    class Handler(PageHandler):
        files = contents

    try:
        return PageServer((host, port), Handler)
    except OSError as error:
        raise OSError(f'cannot listen at {host}:{port} ({error.strerror}); '
                      'choose another --host or --port') from error


def find_contents(models: Sequence[str]) -> Dict[str, Content]:
    """Find all that is served; no other file ever is.

    Args:
        models (Sequence[str]): Exported files to offer, before the package's.

    Returns:
        dict[str, Content]: Contents by the path of their address.

    Raises:
        FileNotFoundError: If the page was not built, or a file is missing.
        ValueError: If a file is not one of ``lgm-pose export``, or two have
            the same name.
    """
    from lgm_pose_plugin.runtime.pose_runtime import WEIGHTS
    if not (PAGE / 'index.html').is_file():
        raise FileNotFoundError(
            f'the page is not there: {PAGE} has no index.html. In a clone, '
            'run `make web`, which needs Node.js, and install the package '
            'again')
    contents: Dict[str, Content] = {
        f'/{path.relative_to(PAGE).as_posix()}': path
        for path in PAGE.rglob('*') if path.is_file()
    }
    contents['/'] = contents['/index.html']
    index: List[Dict[str, Any]] = []
    # Reversed, LGM-Pose comes before LGM-Pose-Fast.
    shipped = sorted(WEIGHTS.glob('*.onnx'), reverse=True)
    for path in [*map(Path, models), *shipped]:
        if path.name in [one['file'] for one in index]:
            # A file of --model may stand in for one of the package.
            if path.parent == WEIGHTS:
                continue
            raise ValueError(f'two files of --model are named {path.name}; '
                             'rename one')
        index.append(describe(path))
        contents[f'/models/{path.name}'] = path
    contents['/models/index.json'] = json.dumps(index).encode()
    return contents


def describe(path: Path) -> Dict[str, Any]:
    """Describe an exported file for the page.

    Args:
        path (Path): The file.

    Returns:
        dict: ``name``, ``file``, ``task``, ``precision`` and ``bytes``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an ONNX file of ``lgm-pose export``.
    """
    from lgm_pose_plugin.runtime.metadata import read_metadata
    from lgm_pose_plugin.runtime.onnx_file import read_property
    from lgm_pose_plugin.runtime.session import METADATA_KEY
    file = str(path)
    if path.suffix.lower() != '.onnx':
        raise ValueError(f'{file} is not an .onnx file; browsers run these '
                         'alone (`lgm-pose export --format onnx`)')
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {file}')
    text = read_property(file, METADATA_KEY)
    if text is None:
        raise ValueError(f'{file} holds no metadata of lgm_pose_plugin; make '
                         'it with `lgm-pose export`')
    try:
        task = str(json.loads(text).get('task', 'pose'))
    # What it is, read_metadata says.
    except (AttributeError, RecursionError, ValueError):
        task = 'pose'
    metadata = read_metadata(text, file, task)
    return dict(
        name=path.stem,
        file=path.name,
        task=task,
        precision=str(metadata.get('precision', 'float32')),
        bytes=osp.getsize(file))


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with what :func:`find_contents` found.

    Attributes:
        files (dict[str, Content]): Contents by the path of their address.
    """
    files: Dict[str, Content] = {}

    def do_GET(self) -> None:
        """Send a content, or that there is none."""
        content = self.files.get(unquote(urlsplit(self.path).path))
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        suffix = '.json'
        if isinstance(content, Path):
            suffix = content.suffix
            try:
                content = content.read_bytes()
            except OSError:  # gone since
                self.send_error(HTTPStatus.NOT_FOUND)
                return
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type',
                         TYPES.get(suffix, 'application/octet-stream'))
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Add the headers of all answers."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Tell no version of Python."""
        return 'lgm-pose'

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet of requests."""


class PageServer(ThreadingHTTPServer):
    """Does not mind browsers that leave in the middle of an answer."""
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report all errors but those of connections that are gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
