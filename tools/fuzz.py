"""Feed an exported network and `lgm-pose predict` with broken input.

Each call is one of: a picture or video file that was damaged, through all of
`predict` (reading, key points, drawing, results), the video also from a server
that stalls or hangs up; an array that is or is not an image, with boxes that
are or are not boxes, through PoseRuntime; a box file of `--boxes`. Each has to
give finite key points or one of the documented errors, within a minute. All of
it follows from seed and number, so a failure can be repeated with --first.
Prints the counts and the resident memory (RSS, Linux only) as JSON; the exit
status is 1 if anything else happened.

example: lgm-pose export CONFIG CHECKPOINT -o net.onnx
example: python tools/fuzz.py net.onnx --calls 10000
"""
import argparse
import faulthandler
import gc
import json
import os
import os.path as osp
import socket
import sys
import tempfile
import threading
from collections import Counter
from contextlib import closing
from functools import lru_cache
from typing import Any, Dict, List, Sequence, Tuple

import cv2
import numpy as np

from lgm_pose_plugin.apis.coco_files import Boxes, BoxFile
from lgm_pose_plugin.apis.predictor import Predictor
from lgm_pose_plugin.apis.results import SourceWriter
from lgm_pose_plugin.apis.sources import ERRORS, Source
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime

KINDS = ('array', 'picture', 'array', 'picture', 'box file', 'video')
LIMIT = 60  # seconds that a call may take
# Of videos: as long as a server may be silent.
TIMEOUT = 0.5
CODECS = {'.avi': 'MJPG', '.gif': '', '.mkv': 'XVID', '.mp4': 'mp4v',
          '.ts': 'mp4v', '.webm': 'VP80'}  # yapf: disable
FORMATS = ('.jpg', '.png', '.webp', '.bmp', '.tiff')
NUMBERS = (0, 1, -1, 0.5, 63, 1e-3, 1e-300, 1e5, -1e5, 1e6, 1e30, 1e300, -1e38,
           np.nan, np.inf, -np.inf)
JSON_VALUES = (None, True, -1, 0, 1, 10**30, 1e308, float('nan'), float('inf'),
               '', 'a.jpg', '1', [], [1], [[1]], {}, {
                   'id': 1
               }, [0, 0, 10, 10], ['0', 0, 10, 10], [0, 0, None,
                                                     10], [0, 0, [1], 1])


@lru_cache(maxsize=None)
def pictures(number: int = 5) -> List[Tuple[str, bytes]]:
    """Render people and encode them, in all formats.

    Args:
        number (int): How many pictures in each format. Defaults to 5.

    Returns:
        list[tuple[str, bytes]]: Suffixes and files.
    """
    files = []
    for seed in range(number):
        image, _ = render_image(np.random.default_rng(seed), (120, 90), 1)
        for image, options in ((image, []), (image[..., 0], []),
                               (np.uint16(image) * 257, [])):
            for suffix in FORMATS:
                if image.dtype != np.uint8 and suffix not in ('.png', '.tiff'):
                    continue
                files.append((suffix, cv2.imencode(suffix, image,
                                                   options)[1].tobytes()))
    return files


@lru_cache(maxsize=None)
def videos(number: int = 12) -> List[Tuple[str, bytes]]:
    """Encode a rendered person as videos, in several formats and sizes.

    Args:
        number (int): How many frames. Defaults to 12.

    Returns:
        list[tuple[str, bytes]]: Suffixes and files. In the last ones the size
        changes after half of the frames.
    """
    files: List[Tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in ((80, 64), (120, 90)):
            image, _ = render_image(np.random.default_rng(0), size, 1)
            frames = [np.roll(image, 2 * i, 1) for i in range(number)]
            for suffix, codec in CODECS.items():
                path = osp.join(folder, 'video' + suffix)
                if codec:
                    writer = cv2.VideoWriter(path,
                                             cv2.VideoWriter_fourcc(*codec),
                                             25, size)
                    for frame in frames:
                        writer.write(frame)
                    writer.release()
                else:
                    cv2.imwritemulti(path, frames)
                with open(path, 'rb') as file:
                    files.append((suffix, file.read()))
    streams = [data for suffix, data in files if suffix == '.ts']
    return files + [('.ts', b''.join(streams)), ('.ts', streams[1] * 2)]


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits of a file, cut it off, or both.

    Args:
        data (bytes): The file.
        rng (np.random.Generator): Chance.

    Returns:
        bytes: The damaged file; one in sixteen is whole.
    """
    broken = np.frombuffer(data, np.uint8).copy()
    kind = rng.integers(16)
    if kind in (1, 2, 3, 4, 5):  # anywhere
        places = rng.integers(0, len(broken), rng.integers(1, 40))
        broken[places] ^= np.uint8(1) << rng.integers(
            0, 8, len(places), dtype=np.uint8)
    if kind in (5, 6, 7, 8):  # in the header
        places = rng.integers(0, min(64, len(broken)), rng.integers(1, 6))
        broken[places] = rng.integers(0, 256, len(places), dtype=np.uint8)
    if kind in (8, 9, 10, 11, 12):
        broken = broken[:rng.integers(0, len(broken))]
    if kind == 13 and len(broken) > 20:  # a hole
        start = rng.integers(0, len(broken) - 10)
        broken[start:start + rng.integers(1, 2000)] = rng.integers(2) * 255
    if kind == 14:
        broken = rng.integers(0, 256, rng.integers(0, 500), dtype=np.uint8)
    if kind == 15:
        broken = np.concatenate([broken, broken[rng.integers(len(broken)):]])
    return broken.tobytes()


def array(rng: np.random.Generator) -> Any:
    """Make an image, or something that is none.

    Args:
        rng (np.random.Generator): Chance.

    Returns:
        Any: About half are images.
    """
    height, width = rng.integers(1, 80, 2)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    makers = (
        lambda: image,
        lambda: image[::-1],
        lambda: image[:, ::-1],
        lambda: image[..., ::-1],
        lambda: image[::2, ::3],
        lambda: np.asfortranarray(image),
        lambda: image.transpose(1, 0, 2),
        lambda: np.broadcast_to(image[:1, :1], image.shape),
        lambda: np.ma.masked_array(image, image > 9),
        lambda: image[:1, :1],
        lambda: np.zeros((1, rng.integers(30000, 70000), 3), np.uint8),
        lambda: np.zeros((rng.integers(30000, 70000), 1, 3), np.uint8),
        lambda: image[:0],
        lambda: image[:, :0],
        lambda: image[..., :0],
        lambda: image[..., :1],
        lambda: image[..., :2],
        lambda: image[..., 0],
        lambda: np.concatenate([image, image], 2),
        lambda: image[None],
        lambda: image.tolist(),
        lambda: image.tobytes(),
        lambda: image.astype(rng.choice(['f4', 'f8', 'f2', 'i1', '>u2', '?'])),
        lambda: np.where(image > 99, np.nan, image),
        lambda: image.astype(object),
        lambda: image.astype('c8'),
        lambda: image.view('S1'),
        lambda: rng.choice(np.array([None, 'a.jpg', 7, {}], object)),
    )
    # Half of them among the first, which are images.
    return makers[rng.integers(10 if rng.integers(2) else len(makers))]()


def boxes(rng: np.random.Generator) -> Any:
    """Make boxes, or something that is none.

    Args:
        rng (np.random.Generator): Chance.

    Returns:
        Any: About half are boxes.
    """
    good = rng.uniform(-20, 100, (rng.integers(1, 6), 4))
    good[:, 2:] = good[:, :2] + rng.uniform(0.01, 200, (len(good), 2))
    bad = good.copy()
    bad[rng.integers(len(bad)), rng.integers(4)] = rng.choice(NUMBERS)
    makers = (
        lambda: good,
        lambda: good.tolist(),
        lambda: np.float32(good),
        lambda: np.int64(good + [0, 0, 1, 1]),
        lambda: np.asfortranarray(good)[::-1],
        lambda: good + rng.choice([1e3, -1e4, 1e5, 9e5]),
        lambda: good * rng.choice([1e-5, 1e-30, 1e-200, 100, 3000]),
        lambda: None,
        lambda: [],
        lambda: np.float16(good),
        lambda: bad,
        lambda: bad.tolist(),
        lambda: np.float32(np.clip(bad, -3e38, 3e38)),
        lambda: rng.choice(NUMBERS, (2, 4)),
        lambda: good[:, [2, 3, 0, 1]],
        lambda: good[:, [0, 1, 0, 3]],
        lambda: good[:, :3],
        lambda: good[0],
        lambda: good[None],
        lambda: [[]],
        lambda: [good[0].tolist(), [1]],
        lambda: good.astype(str),
        lambda: good.astype(object),
        lambda: good.astype(complex),
        lambda: good > 0,
        lambda: [[None] * 4],
        lambda: [[10**30] * 4],
        lambda: rng.choice(np.array(['boxes', 7, {}, b'x'], object)),
        lambda: np.tile(good[:1], (300 if rng.integers(20) else 10**6, 1)),
    )
    return makers[rng.integers(10 if rng.integers(2) else len(makers))]()


def box_file(rng: np.random.Generator) -> Any:
    """Make a COCO file, some values of which are wrong.

    Args:
        rng (np.random.Generator): Chance.

    Returns:
        Any: Of JSON's types.
    """

    def value(right: Any) -> Any:
        if rng.integers(16):
            return right
        return JSON_VALUES[rng.integers(len(JSON_VALUES))]

    def entry(**fields: Any) -> Any:
        return value({key: value(right) for key, right in fields.items()})

    return entry(
        images=[entry(id=1, file_name='a.jpg')],
        annotations=[
            entry(
                image_id=1,
                category_id=1,
                iscrowd=0,
                score=0.5,
                bbox=[value(1), 2., value(30), 40.])
            for _ in range(rng.integers(1, 4))
        ],
        categories=[entry(id=1, name='person')])


def check(keypoints: Any, scores: Any) -> str:
    """Raise if key points or scores are not finite numbers."""
    if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
        raise AssertionError('key points or scores that are not finite')
    return 'key points'


def call_runtime(network: PoseRuntime, rng: np.random.Generator) -> str:
    """Run an array with boxes through the network.

    Returns:
        str: ``'key points'`` or ``'refused'``.

    Raises:
        Exception: Whatever else happens.
    """
    image, people = array(rng), boxes(rng)
    try:
        keypoints, scores = network(image, people)
    except ValueError:
        return 'refused'
    if people is not None and len(keypoints) != len(people):
        raise AssertionError(f'{len(keypoints)} of {len(people)} people')
    return check(keypoints, scores)


def call_predict(network: PoseRuntime, source: Source,
                 folder: str) -> Tuple[str, Any]:
    """Run a picture or video through `predict`; see :func:`call_runtime`.

    Returns:
        tuple[str, Any]: ``'key points'`` or ``'refused'``; and what the file
        of predictions holds, ``None`` without one.
    """
    out = osp.join(folder, 'out')
    people = Boxes(np.float32([[10, 5, 90, 80]]), np.ones(1, np.float32))
    predictor = Predictor(
        lambda images, boxes: [*map(network, images, boxes)],
        lambda frame: people,
        network.metadata['skeleton'],
        timeout=TIMEOUT)
    outcome = 'key points'
    try:
        with closing(SourceWriter(out, source)) as writer:
            for result in predictor.predict([source]):
                writer.write(result, result.draw(draw_bbox=True))
    except ERRORS:
        outcome = 'refused'
    results = [
        osp.join(place, name) for place, _, names in os.walk(out)
        for name in names
    ]
    if any(
            osp.splitext(path)[0] != osp.join(osp.dirname(path), source.kind)
            for path in results):
        raise AssertionError(f'left behind: {results}')
    predictions = None
    for path in results:
        if path.endswith('.json'):
            with open(path) as file:
                predictions = json.load(file)
        os.remove(path)
    return outcome, predictions


def call_picture(network: PoseRuntime, rng: np.random.Generator,
                 folder: str) -> str:
    """Run a damaged picture through `predict`; see :func:`call_runtime`."""
    files = pictures()
    suffix, data = files[rng.integers(len(files))]
    path = osp.join(folder, 'picture' + suffix)
    with open(path, 'wb') as file:
        file.write(damage(data, rng))
    result, predictions = call_predict(network,
                                       Source('image', path, 'image' + suffix),
                                       folder)
    if result != 'refused':
        person, = predictions
        check(person['keypoints'], person['keypoint_scores'])
    return result


def call_video(network: PoseRuntime, rng: np.random.Generator,
               folder: str) -> str:
    """Run a damaged video through `predict`, one in four from a server.

    What is read before it fails is kept; see :func:`call_runtime`.
    """
    files = videos()
    suffix, data = files[rng.integers(len(files))]
    if rng.integers(4):
        path = osp.join(folder, 'video' + suffix)
        with open(path, 'wb') as file:
            file.write(damage(data, rng))
        result, predictions = call_predict(
            network, Source('video', path, 'video' + suffix), folder)
    else:
        sent = damage(data, rng)
        header = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n'
        if not rng.integers(3):  # the header, too
            header = damage(header, rng).replace(b'%', b'%%')
        if b'%d' in header:
            header %= len(data) * rng.integers(1, 3)
        with closing(socket.create_server(('127.0.0.1', 0))) as server:
            threading.Thread(
                target=serve,
                args=(server, header + sent, rng.integers(2)),
                daemon=True).start()
            url = f'http://127.0.0.1:{server.getsockname()[1]}/video{suffix}'
            result, predictions = call_predict(
                network, Source('video', url, 'video' + suffix), folder)
    for frame in predictions or ():
        for person in frame['instances']:
            check(person['keypoints'], person['keypoint_scores'])
    if result != 'refused' and not predictions:
        raise AssertionError('neither frames nor an error')
    return result


def serve(server: socket.socket, data: bytes, hang_up: bool) -> None:
    """Send data to whoever connects, then hang up or be silent.

    Args:
        server (socket.socket): Listens; closing it ends this.
        data (bytes): All that is sent.
        hang_up (bool): Whether the connection is closed after it.
    """
    connections = []  # that are open as long as this list
    while True:
        try:
            connection, _ = server.accept()
            connection.sendall(data)
        except ConnectionError:
            continue
        except OSError:
            break
        if hang_up:
            connection.close()
        else:
            connections.append(connection)


def call_box_file(rng: np.random.Generator, folder: str) -> str:
    """Read boxes of a picture; see :func:`call_runtime`."""
    path = osp.join(folder, 'boxes.json')
    with open(path, 'w') as file:
        json.dump(box_file(rng), file)
    try:
        found = BoxFile(path).find('a.jpg')
    except ValueError:
        return 'refused'
    return check(found.boxes, found.scores) and 'boxes'


def resident_memory() -> float:
    """Resident memory of this process in MB, NaN where it is not told."""
    gc.collect()
    try:
        with open('/proc/self/status') as file:
            return next(
                int(line.split()[1]) / 1024 for line in file
                if line.startswith('VmRSS'))
    except OSError:
        return float('nan')


def run(network: PoseRuntime,
        calls: range,
        seed: int = 0,
        kinds: Sequence[str] = KINDS) -> Dict[str, Any]:
    """Make the calls.

    Args:
        network (PoseRuntime): The network.
        calls (range): Their numbers.
        seed (int): The seed. Defaults to 0.
        kinds (Sequence[str]): Their kinds, in turn. Defaults to ``KINDS``.

    Returns:
        dict: ``counts`` of what came of which kind of call, ``rss_mb`` by the
        number of calls, and ``failures``, each with its number.
    """
    counts: Counter = Counter()
    failures: List[str] = []
    rss = {0: resident_memory()}
    marks = {len(calls)} | {10**n for n in range(2, 9) if 10**n < len(calls)}
    with tempfile.TemporaryDirectory() as folder:
        for done, number in enumerate(calls, 1):
            rng = np.random.default_rng([seed, number])
            kind = kinds[number % len(kinds)]
            # Ends the process where a call does not return.
            faulthandler.dump_traceback_later(LIMIT, exit=True)
            try:
                result = (
                    call_runtime(network, rng)
                    if kind == 'array' else call_picture(network, rng, folder)
                    if kind == 'picture' else call_video(network, rng, folder)
                    if kind == 'video' else call_box_file(rng, folder))
                counts[f'{kind}: {result}'] += 1
            except Exception as error:
                failures.append(f'{kind} {number}: {error!r}'[:500])
            finally:
                faulthandler.cancel_dump_traceback_later()
            if done in marks:
                rss[done] = round(resident_memory(), 1)
    return dict(counts=dict(counts), rss_mb=rss, failures=failures)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='a file of `lgm-pose export`')
    parser.add_argument('--backend', choices=('onnxruntime', 'openvino'))
    parser.add_argument('--calls', type=int, default=1000, metavar='N')
    parser.add_argument(
        '--first',
        type=int,
        default=0,
        metavar='N',
        help='number of the '
        'first call')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--kinds',
        nargs='+',
        choices=sorted(set(KINDS)),
        default=KINDS,
        help='kinds of the calls, in turn')
    args = parser.parse_args()
    np.seterr(all='ignore')
    result = run(
        PoseRuntime(args.model, args.backend),
        range(args.first, args.first + args.calls), args.seed, args.kinds)
    print(json.dumps(result, indent=2))
    return 1 if result['failures'] else 0


if __name__ == '__main__':
    sys.exit(main())
