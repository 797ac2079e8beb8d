"""Make what the tests of the web page compare with: PoseRuntime's numbers.

    python web/tests/fixtures.py FOLDER

All pictures are rendered people.
"""
import base64
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lgm_pose_plugin.apis import PoseInferencer
from lgm_pose_plugin.apis.person_detector import PersonDetector
from lgm_pose_plugin.apis.predictor import boxes_of_keypoints, windows
from lgm_pose_plugin.apis.video_writer import VideoWriter
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.export.quantize import quantize_onnx
from lgm_pose_plugin.runtime import DetectorRuntime, PoseRuntime
from lgm_pose_plugin.runtime.decoding import decode
from lgm_pose_plugin.runtime.preprocessing import (centers_and_scales,
                                                   crop_people, letterbox,
                                                   normalize)
from lgm_pose_plugin.runtime.session import METADATA_KEY

SHIPPED = 'lgm-pose_body17-256x192'
SEEDS = 10, 2, 20  # of pictures with a person whom the network finds
FIND_EVERY = 4
BOX = [190., 108., 409., 372.]
CODECS = [
    dict(type='MSRAHeatmap', blur_kernel_size=11, unbiased=False),
    dict(type='MSRAHeatmap', blur_kernel_size=9, unbiased=True),
    dict(type='UDPHeatmap', blur_kernel_size=7, heatmap_type='gaussian'),
    dict(type='UDPHeatmap', blur_kernel_size=11, heatmap_type='gaussian'),
    dict(type='SoftmaxUDPHeatmap', blur_kernel_size=11, sigma=2.),
]


def encode(array):
    """Make JSON of an array: its bytes and shape."""
    array = np.ascontiguousarray(array)
    return dict(
        base64=base64.b64encode(array.tobytes()).decode(),
        dtype=array.dtype.name,
        shape=array.shape)


def rgba(image):
    return encode(cv2.cvtColor(image, cv2.COLOR_BGR2RGBA))


def person(seed, size=(640, 480)):
    return render_image(np.random.default_rng(seed), size, 1)[0]


def geometry(image):
    """Regions and crops of boxes, also beyond the border."""
    boxes = [[20, 10, 60, 70], [-30.5, 12.25, 20, 200], [50, 40, 95.5, 71.5],
             [0, 0, 96, 72], [10, 30, 90, 34]]
    cases = []
    for use_udp in (True, False):
        metadata = dict(input_size=[24, 32], padding=1.25, use_udp=use_udp)
        centers, scales = centers_and_scales(np.array(boxes), metadata)
        crops = crop_people(image, centers, scales, metadata)
        cases.append(
            dict(
                metadata=metadata,
                boxes=boxes,
                regions=np.hstack([centers, scales]).tolist(),
                crops=encode(crops)))
    metadata = dict(
        mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], bgr_to_rgb=True)
    letterboxes = []
    for size in ([64, 64], [160, 96], [48, 36]):
        canvas, factors = letterbox(image, size, [114, 50, 7])
        letterboxes.append(
            dict(size=size, canvas=encode(canvas), factors=factors))
    return dict(
        image=rgba(image),
        cases=cases,
        normalized=dict(
            metadata=metadata, values=encode(normalize(crops[:2], metadata))),
        letterboxes=letterboxes)


def decodings(rng):
    """Maps of every codec, with maxima at borders and maps of zeros."""
    cases = []
    for codec in CODECS:
        codec = dict(codec, input_size=[48, 64])
        maps = np.zeros((1, 9, 16, 12), np.float32)
        for k in range(8):
            x, y = rng.uniform(-1, 12), rng.uniform(-1, 16)
            grid_y, grid_x = np.mgrid[:16, :12]
            maps[0, k] = rng.uniform(.2, 1) * np.exp(-((grid_x - x)**2 +
                                                       (grid_y - y)**2) / 6)
        maps += (rng.uniform(0, .02, maps.shape) * (maps.max(
            (2, 3), keepdims=True) > 0)).astype(np.float32)
        if codec['type'] == 'SoftmaxUDPHeatmap':
            maps = maps * 9 - 2  # logits
            # Noise alone, whose blurred maximum is elsewhere.
            maps[0, 8] = rng.normal(0, 3, maps.shape[2:])
        keypoints, scores = decode(dict(heatmaps=maps), codec)
        cases.append(
            dict(
                codec=codec,
                heatmaps=encode(maps[0]),
                keypoints=keypoints[0].tolist(),
                scores=scores[0].tolist()))
    codec = dict(type='SimCCLabel', input_size=[48, 64], simcc_split_ratio=2.0)
    outputs = dict(
        simcc_x=rng.normal(0, 1, (1, 9, 96)).astype(np.float32),
        simcc_y=rng.normal(0, 1, (1, 9, 128)).astype(np.float32))
    outputs['simcc_x'][0, 3] = -1
    keypoints, scores = decode(outputs, codec)
    cases.append(
        dict(
            codec=codec,
            **{
                name: encode(one[0])
                for name, one in outputs.items()
            },
            keypoints=keypoints[0].tolist(),
            scores=scores[0].tolist()))
    return cases


def followed(rng):
    """Boxes around key points, of people who are and are not followed."""
    keypoints = rng.uniform(20, 80, (5, 17, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, (5, 17)).astype(np.float32)
    scores[1] = .1  # nobody
    keypoints[2] += 1000  # outside
    keypoints[3] *= 30  # too large
    box_scores = np.arange(5, dtype=np.float32) / 5
    found = boxes_of_keypoints(keypoints, scores, box_scores,
                               np.zeros((90, 120, 3), np.uint8))
    return dict(
        size=[120, 90],
        keypoints=encode(keypoints),
        scores=encode(scores),
        box_scores=box_scores.tolist(),
        found=dict(
            boxes=found.boxes.tolist(), box_scores=found.scores.tolist()))


def set_metadata(model, metadata, file):
    helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    onnx.save(model, file)


def write_int8(folder, images):
    """The shipped network in int8, calibrated on the pictures."""
    shipped = PoseRuntime(SHIPPED)
    crops = np.concatenate([shipped.crop(image, [BOX])[0] for image in images])
    file = str(folder / f'{SHIPPED}-int8.onnx')
    # 8 bits overflow on CPUs without VNNI, and never in the browser.
    quantize_onnx(shipped.file, file, crops, reduce_range=True)
    set_metadata(
        onnx.load(file), dict(shipped.metadata, precision='int8'), file)
    return file


def write_raw(folder, rng):
    """A small network of maps: a fixed batch, no decoding, no preprocessing.

    Its maps have one peak each, which the image moves a little.
    """
    metadata = dict(
        PoseRuntime(SHIPPED).metadata,
        input_size=[48, 64],
        decode=False,
        normalize=False,
        codec=dict(
            type='UDPHeatmap',
            input_size=[48, 64],
            heatmap_size=[12, 16],
            blur_kernel_size=11,
            heatmap_type='gaussian'))
    weight = rng.normal(0, .002, (17, 3, 8, 8)).astype(np.float32)
    x, y = rng.uniform(2, 9, (17, 1, 1)), rng.uniform(2, 13, (17, 1, 1))
    grid_y, grid_x = np.mgrid[:16, :12]
    peaks = np.exp(-((grid_x - x)**2 + (grid_y - y)**2) / 6)
    shapes = dict(images=[3, 3, 64, 48], heatmaps=[3, 17, 16, 12])
    images, heatmaps = (helper.make_tensor_value_info(name, TensorProto.FLOAT,
                                                      shape)
                        for name, shape in shapes.items())
    nodes = [
        helper.make_node(
            'Conv', ['images', 'weight'], ['moved'],
            strides=[4, 4],
            pads=[2, 2, 2, 2]),
        helper.make_node('Add', ['moved', 'peaks'], ['heatmaps'])
    ]
    graph = helper.make_graph(nodes, 'raw', [images], [heatmaps], [
        numpy_helper.from_array(weight, 'weight'),
        numpy_helper.from_array(np.float32(peaks), 'peaks')
    ])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    file = str(folder / 'raw.onnx')
    set_metadata(model, metadata, file)
    return file


def write_detector(folder):
    """A detector that finds the same boxes in all images."""
    # Two overlap, one is small, one is a car, one has a low score.
    dets = np.array(
        [[60, 34, 130, 118, .9], [62, 36, 131, 119, .8], [5, 20, 40, 100, .6],
         [50, 50, 50.2, 50.2, .7], [0, 0, 90, 60, .8], [100, 20, 140, 90, .2]],
        np.float32)[None]
    labels = np.array([[1, 1, 1, 1, 0, 1]], np.int64)
    metadata = dict(
        format_version=1,
        task='detection',
        input_size=[192, 160],
        normalize=True,
        bgr_to_rgb=False,
        precision='float32',
        mean=[0.] * 3,
        std=[1.] * 3,
        pad_value=[114] * 3,
        classes=['car', 'person'],
        max_boxes=6,
        score_thr=.05,
        nms_thr=.6)
    nodes = [
        # Each depends on the image, by nothing.
        helper.make_node('Cast', ['images'], ['floats'], to=1),
        helper.make_node('ReduceMean', ['floats'], ['mean'], keepdims=0),
        helper.make_node('Mul', ['mean', 'zero'], ['none']),
        helper.make_node('Add', ['fixed', 'none'], ['dets']),
        helper.make_node('Cast', ['none'], ['no_label'], to=7),
        helper.make_node('Add', ['fixed_labels', 'no_label'], ['labels'])
    ]
    graph = helper.make_graph(nodes, 'detector', [
        helper.make_tensor_value_info('images', TensorProto.UINT8,
                                      [1, 160, 192, 3])
    ], [
        helper.make_tensor_value_info('dets', TensorProto.FLOAT, [1, 6, 5]),
        helper.make_tensor_value_info('labels', TensorProto.INT64, [1, 6])
    ], [
        numpy_helper.from_array(dets, 'fixed'),
        numpy_helper.from_array(labels, 'fixed_labels'),
        numpy_helper.from_array(np.float32(0), 'zero')
    ])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    file = str(folder / 'detector.onnx')
    set_metadata(model, metadata, file)
    DetectorRuntime(file)
    return file


def predict(inferencer, images, **options):
    """What is found in each of the images."""
    return [one.instances() for one in inferencer(images, **options)]


def pan(image, count, size):
    """Frames of a camera that is turned over a picture."""
    width, height = size
    for i in range(count):
        left, top = 3 * i, i
        yield np.ascontiguousarray(image[top:top + height, left:left + width])


def main(out):
    """Write all files."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = [person(seed) for seed in SEEDS]
    detector_file = write_detector(folder)
    detector = PersonDetector(detector_file)
    whole = PoseInferencer(SHIPPED, det_model='whole')
    detected = PoseInferencer(SHIPPED, det_model=detector_file)

    pictures = []
    for seed, image in zip(SEEDS, images):
        name = f'person-{seed}.png'
        cv2.imwrite(str(folder / name), image)
        pictures.append(
            dict(
                name=name,
                instances=predict(whole, [image])[0],
                detected=predict(detected, [image])[0]))

    networks = []
    boxes = [BOX, [20, 30, 300, 470], [300.5, 100, 700, 400.25], [0, 0, 9, 9]]
    files = [
        PoseRuntime(SHIPPED).file,
        write_int8(folder, images),
        write_raw(folder, rng)
    ]
    for file in files:
        inferencer = PoseInferencer(str(file), det_model='whole')
        runtime = PoseRuntime(file)
        crops = runtime.crop(images[0], boxes)[0]
        keypoints, scores = runtime.predict_crops(crops)
        networks.append(
            dict(
                file=str(file),
                crops=encode(crops),
                keypoints=encode(keypoints),
                scores=encode(scores),
                instances=predict(
                    inferencer, images, bboxes=[boxes] * len(images))))

    # A video: the first person's, from the left to the right.
    frames = list(pan(images[0], 12, (480, 432)))
    video = VideoWriter(str(folder / 'pan.mp4'), 25)
    for i, frame in enumerate(frames):
        video.write(frame, i / 25)
    video.close()
    # As a camera: YUV without compression.
    with open(folder / 'camera.y4m', 'wb') as opened:
        opened.write(b'YUV4MPEG2 W480 H432 F25:1 Ip A1:1 C420jpeg\n')
        for frame in frames:
            opened.write(b'FRAME\n')
            opened.write(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    small = person(SEEDS[0], (96, 72))
    data = dict(
        geometry=geometry(small),
        decodings=decodings(rng),
        windows=[
            dict(size=size, boxes=windows(*size).tolist())
            for size in ([640, 480], [480, 640], [300, 400], [1920, 200],
                         [64, 3000])
        ],
        followed=followed(rng),
        find_every=FIND_EVERY,
        boxes=boxes,
        images=[rgba(image) for image in images],
        networks=networks,
        detected=dict(
            file=detector_file,
            boxes=detector(images[0]).boxes.tolist(),
            scores=detector(images[0]).scores.tolist()),
        pictures=pictures,
        frames=[rgba(frame) for frame in frames[:5]],
        video=predict(whole, frames),
        followed_video=predict(whole, frames, det_every=FIND_EVERY))
    (folder / 'fixtures.json').write_text(json.dumps(data))


if __name__ == '__main__':
    main(*sys.argv[1:])
