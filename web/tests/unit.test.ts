/** Geometry, decoding and whole networks against PoseRuntime. */
import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-web';
import { describe, expect, test } from 'vitest';
import { decodeHeatmaps, decodeSimcc, gaussianKernel } from '../src/decoding';
import { PersonDetector } from '../src/detector';
import {
  type DetectorMetadata,
  isDetector,
  type Metadata,
  type PoseMetadata,
  parseMetadata,
  readMetadata,
} from '../src/metadata';
import { type Person, PoseNetwork, type ScoredBox } from '../src/network';
import { boxesOfKeypoints, Follower, lookTwice, windows } from '../src/predictor';
import { type Box, crop, letterbox, normalize, regionOfBox } from '../src/preprocessing';
import { describe as describePeople, instances, resultName, toJson } from '../src/results';
import {
  bytes,
  CROP_PIXELS,
  CROP_SCORE,
  compare,
  difference,
  floats,
  KEYPOINT_THR,
  pixels,
  readFixtures,
} from './fixtures';

const fixtures = readFixtures();
const [shipped, int8, raw] = fixtures.networks;
ort.env.wasm.numThreads = 1;

async function open(file: string): Promise<{ session: ort.InferenceSession; metadata: Metadata }> {
  const model = new Uint8Array(readFileSync(file));
  return {
    session: await ort.InferenceSession.create(model),
    metadata: readMetadata(model, file),
  };
}

async function openNetwork(file: string): Promise<PoseNetwork> {
  const { session, metadata } = await open(file);
  return new PoseNetwork(session, metadata as PoseMetadata, file);
}

async function openDetector(file: string): Promise<PersonDetector> {
  const { session, metadata } = await open(file);
  return new PersonDetector(session, metadata as DetectorMetadata, file);
}

describe.each(fixtures.geometry.cases)('crops, use_udp $metadata.use_udp', (fixture) => {
  const { metadata, boxes, regions, crops } = fixture;
  const image = pixels(fixtures.geometry.image);

  test('regions of boxes', () => {
    boxes.forEach((box, i) => {
      const { cx, cy, width, height } = regionOfBox(box, metadata);
      expect(difference([cx, cy, width, height], regions[i])).toBeLessThan(1e-6);
    });
  });

  test('pixels of crops', () => {
    const expected = bytes(crops);
    const size = expected.length / boxes.length;
    boxes.forEach((box, i) => {
      const target = new Uint8Array(size);
      crop(image, regionOfBox(box, metadata), metadata, target);
      // Before 5.0, OpenCV rounds coordinates to a 32nd of a pixel.
      const wanted = expected.subarray(i * size, (i + 1) * size);
      const mean = target.reduce((sum, one, j) => sum + Math.abs(one - wanted[j]), 0) / size;
      expect(mean).toBeLessThan(0.3);
      expect(difference(target, wanted)).toBeLessThanOrEqual(8);
    });
  });
});

test('normalization', () => {
  const { metadata, values } = fixtures.geometry.normalized;
  const crops = bytes(fixtures.geometry.cases[1].crops).subarray(0, 2 * 3 * 24 * 32);
  expect(difference(normalize(crops, 24 * 32, metadata), floats(values))).toBeLessThan(1e-5);
});

test.each(fixtures.geometry.letterboxes)('letterbox of $size', ({ size, canvas, factors }) => {
  const target = new Uint8Array(3 * size[0] * size[1]);
  const found = letterbox(pixels(fixtures.geometry.image), size, [114, 50, 7], target);
  expect(difference(found, factors)).toBeLessThan(1e-9);
  expect(difference(target, bytes(canvas))).toBeLessThanOrEqual(1);
});

test.each(fixtures.decodings)('decoding of $codec.type, $codec.blur_kernel_size', (fixture) => {
  const { codec, heatmaps, simcc_x, simcc_y, keypoints, scores } = fixture;
  const found =
    simcc_x && simcc_y
      ? decodeSimcc(floats(simcc_x), floats(simcc_y), 9, codec)
      : heatmaps && decodeHeatmaps({ data: floats(heatmaps), width: 12, height: 16 }, codec);
  expect(difference(found?.keypoints ?? [], keypoints.flat())).toBeLessThan(0.01);
  expect(difference(found?.scores ?? [], scores)).toBeLessThan(1e-5);
});

test('Gaussian kernels sum to 1', () => {
  for (let size = 1; size < 30; size += 2) {
    const kernel = gaussianKernel(size);
    expect(kernel).toHaveLength(size);
    expect(kernel.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1);
  }
});

test.each(fixtures.windows)('windows of $size', ({ size, boxes }) => {
  expect(difference(windows(...size).flat(), boxes.flat())).toBeLessThan(1e-3);
});

test('boxes around key points', () => {
  const { size, keypoints, scores, box_scores, found } = fixtures.followed;
  const people = box_scores.map((boxScore, i) => ({
    box: [0, 0, 0, 0] as [number, number, number, number],
    boxScore,
    keypoints: floats(keypoints).slice(34 * i, 34 * (i + 1)),
    scores: floats(scores).slice(17 * i, 17 * (i + 1)),
  }));
  const image = { data: new Uint8Array(), width: size[0], height: size[1] };
  const boxes = boxesOfKeypoints(people, image);
  const scored = boxes.map(({ boxScore }) => boxScore);
  expect(difference(scored, found.box_scores)).toBeLessThan(1e-6);
  expect(
    difference(
      boxes.flatMap(({ box }) => box),
      found.boxes.flat(),
    ),
  ).toBeLessThan(1e-3);
});

describe('following', () => {
  const image = { data: new Uint8Array(), width: 100, height: 100 };
  const at = { box: [10, 10, 50, 90] as Box, boxScore: 1 };

  /** Frames in which people were searched, and the boxes of all frames. */
  async function follow(scores: number[], findEvery: number): Promise<[number[], Box[]]> {
    const searched: number[] = [];
    const boxes: Box[] = [];
    let frame = 0;
    const predict = async (_: unknown, people: ScoredBox[]): Promise<Person[]> =>
      people.map((one) => {
        boxes.push(one.box);
        const keypoints = new Float32Array([20, 20, 40, 70]);
        return { ...one, keypoints, scores: new Float32Array(2).fill(scores[frame]) };
      });
    const follower = new Follower(predict, async () => {
      searched.push(frame);
      return [at];
    });
    for (; frame < scores.length; frame++) {
      await follower.next(image, findEvery);
    }
    return [searched, boxes];
  }

  test('searches every so many frames', async () => {
    const [searched, boxes] = await follow(Array(8).fill(0.9), 3);
    expect(searched).toEqual([0, 3, 6]);
    expect(boxes[3]).toEqual(at.box);
    // 1.3 and 1.2 times the key points' extent.
    expect(difference(boxes[1], [17, 15, 43, 75])).toBeLessThan(1e-9);
  });

  test('searches when somebody is lost', async () => {
    const [searched] = await follow([0.9, 0.9, 0.1, 0.9, 0.9], 10);
    expect(searched).toEqual([0, 3]);
  });

  test('searches every frame', async () => {
    expect((await follow([0.9, 0.9, 0.9], 1))[0]).toEqual([0, 1, 2]);
  });
});

describe('networks', () => {
  // Sums in another order change float32 by millionths; the limits are near
  // those of the check of an export. In int8 a sum that is rounded otherwise is
  // another by a 255th of the range.
  test.each([
    ['the shipped network', shipped, 0.01, 1e-4],
    ['int8', int8, 3, 0.2],
    ['a fixed batch, heat maps and no preprocessing', raw, 0.01, 1e-4],
  ])('%s, on the same crops', async (_, fixture, tolerance, scoreTolerance) => {
    const network = await openNetwork(fixture.file);
    const [count] = fixture.crops.shape;
    const crops = bytes(fixture.crops);
    const size = crops.length / count;
    const found = await network.predictCrops(count, (i, target) =>
      target.set(crops.subarray(i * size, (i + 1) * size)),
    );
    const scores = floats(fixture.scores);
    const foundScores = found.flatMap((one) => Array.from(one.scores));
    expect(difference(foundScores, scores)).toBeLessThan(scoreTolerance);
    const isSure = (_: number, i: number): boolean => scores[i >> 1] > KEYPOINT_THR;
    const keypoints = found.flatMap((one) => Array.from(one.keypoints)).filter(isSure);
    expect(keypoints.length).toBeGreaterThan(20);
    expect(difference(keypoints, floats(fixture.keypoints).filter(isSure))).toBeLessThan(tolerance);
  });

  const people = fixtures.boxes.map((box) => ({ box, boxScore: 1 }));

  test.each([
    ['the shipped network', shipped],
    ['a fixed batch, heat maps and no preprocessing', raw],
  ])('%s, on its own crops', async (_, { file, instances: expected }) => {
    const network = await openNetwork(file);
    for (const [i, image] of fixtures.images.entries()) {
      const found = await network.predict(pixels(image), people);
      const { pixels: far, score } = compare(instances(found), expected[i], network.metadata);
      expect(far).toBeLessThan(CROP_PIXELS);
      expect(score).toBeLessThan(CROP_SCORE);
    }
  });

  test('a detector', async () => {
    const { file, boxes, scores } = fixtures.detected;
    const detector = await openDetector(file);
    const found = await detector.detect(pixels(fixtures.images[0]));
    expect(found.length).toBe(2);
    expect(
      difference(
        found.flatMap(({ box }) => box),
        boxes.flat(),
      ),
    ).toBeLessThan(1e-3);
    expect(
      difference(
        found.map(({ boxScore }) => boxScore),
        scores,
      ),
    ).toBeLessThan(1e-6);
  });

  // Each frame alone: what a box is off becomes more from frame to frame, also
  // between two versions of OpenCV.
  test('frames of a video', async () => {
    const network = await openNetwork(shipped.file);
    const predict: PoseNetwork['predict'] = (image, boxes) => network.predict(image, boxes);
    let last: Person[] = [];
    for (const [i, frame] of fixtures.frames.entries()) {
      const expected = fixtures.followed_video[i];
      const image = pixels(frame);
      const isSearched = i % fixtures.find_every === 0;
      const found = isSearched ? await lookTwice(predict)(image) : boxesOfKeypoints(last, image);
      const boxes = expected.map(({ bbox, bbox_score }) => ({
        box: bbox[0] as Box,
        boxScore: bbox_score,
      }));
      expect(found).toHaveLength(boxes.length);
      expect(difference(found[0].box, boxes[0].box)).toBeLessThan(isSearched ? 0.05 : 1e-3);
      const people = instances(await predict(image, boxes));
      expect(compare(people, expected, network.metadata).pixels).toBeLessThan(CROP_PIXELS);
      last = expected.map(({ keypoints, keypoint_scores }, j) => ({
        ...boxes[j],
        keypoints: new Float32Array(keypoints.flat()),
        scores: new Float32Array(keypoint_scores),
      }));
    }
  });

  test('a file that computes something else', async () => {
    const { session, metadata } = await open(shipped.file);
    const names = { ...metadata, keypoint_names: ['nose'] } as PoseMetadata;
    const network = new PoseNetwork(session, names, 'wrong.onnx');
    await expect(network.predict(pixels(fixtures.images[0]), people)).rejects.toThrow(
      'wrong.onnx computes keypoints of shape (17, 2) for its 1 key points',
    );
  });

  test('a detector without people', async () => {
    const { session, metadata } = await open(fixtures.detected.file);
    const cars = { ...metadata, classes: ['car'] } as DetectorMetadata;
    expect(() => new PersonDetector(session, cars, 'cars.onnx')).toThrow('needs a class "person"');
  });
});

describe('metadata', () => {
  const model = new Uint8Array(readFileSync(shipped.file));
  const good = readMetadata(model, 'good.onnx') as PoseMetadata;
  const parse = (changed: object): Metadata =>
    parseMetadata(JSON.stringify({ ...good, ...changed }), 'x.onnx');

  test('of a network and of a detector', () => {
    expect(good.keypoint_names).toHaveLength(17);
    expect(isDetector(good)).toBe(false);
    const detector = new Uint8Array(readFileSync(fixtures.detected.file));
    expect(isDetector(readMetadata(detector, 'd.onnx'))).toBe(true);
  });

  test('of files that are no networks', () => {
    expect(() => readMetadata(model.subarray(0, 10_000), 'x.onnx')).toThrow('truncated');
    expect(() => readMetadata(new TextEncoder().encode('<html>'), 'x.onnx')).toThrow(
      'not an ONNX file',
    );
    expect(() => readMetadata(new Uint8Array(), 'x.onnx')).toThrow('lgm-pose export');
  });

  test.each([
    [{ format_version: 3 }, 'format version 3'],
    [{ format_version: 'new' }, 'format_version'],
    [{ task: 'segmentation' }, 'task must be'],
    [{ input_size: [192, 0] }, 'input_size must be'],
    [{ std: [1, 1, 0] }, 'std must be'],
    [{ codec: null }, 'codec must be'],
    // Checked as the file says it, before it becomes UDPHeatmap.
    [{ codec: { ...good.codec, type: 'SoftmaxUDPHeatmap', sigma: 'wide' } }, 'codec.sigma must be'],
    [{ codec: { ...good.codec, input_size: [1, 1] } }, 'codec.input_size must be 192,256'],
    [{ skeleton: [[0, 17]] }, 'skeleton must be'],
    [{ keypoint_names: 'nose' }, 'keypoint_names must be'],
  ])('that are wrong: %j', (changed, message) => {
    expect(() => parse(changed)).toThrow(message);
  });

  test('codecs that are not decoded here', () => {
    const metadata = parse({ decode: false, codec: { ...good.codec, type: 'RegressionLabel' } });
    const session = { inputNames: [], inputMetadata: [] } as unknown as ort.InferenceSession;
    expect(() => new PoseNetwork(session, metadata as PoseMetadata, 'x.onnx')).toThrow(
      'RegressionLabel',
    );
  });
});

describe('results', () => {
  const person = {
    box: [1, 2, 3, 4] as [number, number, number, number],
    boxScore: 0.5,
    keypoints: new Float32Array([1, 2, 3, 4]),
    scores: new Float32Array([0.25, 0.75]),
  };
  const instance = {
    keypoints: [
      [1, 2],
      [3, 4],
    ],
    keypoint_scores: [0.25, 0.75],
    bbox: [[1, 2, 3, 4]],
    bbox_score: 0.5,
  };

  test('of a picture', async () => {
    expect(JSON.parse(await toJson([[person]], false).text())).toEqual([instance]);
  });

  test('of a video', async () => {
    expect(JSON.parse(await toJson([[person], []], true).text())).toEqual([
      { frame_id: 0, instances: [instance] },
      { frame_id: 1, instances: [] },
    ]);
  });

  test('their name', () => {
    expect(resultName('a.b.mp4')).toBe('a.b.json');
  });

  test('in words', () => {
    expect(describePeople([person], 0.3)).toBe('1 person found, with 1 of 2 key points.');
    expect(describePeople([person], 0.9)).toBe('Nobody found.');
    expect(describePeople([], 0.3)).toBe('Nobody found.');
  });
});
