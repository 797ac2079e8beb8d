/** Numbers of PoseRuntime, see fixtures.py. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Codec, PoseMetadata } from '../src/metadata';
import type { Box, Pixels } from '../src/preprocessing';
import type { Instance } from '../src/results';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const FIXTURES = join(ROOT, 'web/node_modules/.fixtures');
/** The interpreter of `make env`, unless $PYTHON names another one. */
export const PYTHON = process.env.PYTHON ?? join(ROOT, '.venv/bin/python');
/** With the package of this working tree. */
export const pythonOptions = {
  cwd: ROOT,
  env: { ...process.env, PYTHONPATH: ROOT, OMP_NUM_THREADS: '1', CI: 'true' },
};

/** An array of NumPy. */
export interface Encoded {
  base64: string;
  dtype: 'uint8' | 'float32';
  shape: number[];
}

interface Decoding {
  codec: Codec;
  heatmaps?: Encoded;
  simcc_x?: Encoded;
  simcc_y?: Encoded;
  keypoints: number[][];
  scores: number[];
}

interface Fixtures {
  geometry: {
    image: Encoded;
    cases: { metadata: PoseMetadata; boxes: Box[]; regions: number[][]; crops: Encoded }[];
    normalized: { metadata: PoseMetadata; values: Encoded };
    letterboxes: { size: [number, number]; canvas: Encoded; factors: number[] }[];
  };
  decodings: Decoding[];
  windows: { size: [number, number]; boxes: number[][] }[];
  followed: {
    size: [number, number];
    keypoints: Encoded;
    scores: Encoded;
    box_scores: number[];
    found: { boxes: number[][]; box_scores: number[] };
  };
  find_every: number;
  boxes: Box[];
  images: Encoded[];
  networks: {
    file: string;
    crops: Encoded;
    keypoints: Encoded;
    scores: Encoded;
    instances: Instance[][];
  }[];
  detected: { file: string; boxes: number[][]; scores: number[] };
  pictures: { name: string; instances: Instance[]; detected: Instance[] }[];
  frames: Encoded[];
  video: Instance[][];
  followed_video: Instance[][];
}

export function readFixtures(): Fixtures {
  return JSON.parse(readFileSync(join(FIXTURES, 'fixtures.json'), 'utf8'));
}

export function bytes({ base64 }: Encoded): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

export function floats(encoded: Encoded): Float32Array {
  return new Float32Array(bytes(encoded).buffer);
}

/** An image of fixtures.py as the page has it. */
export function pixels(encoded: Encoded): Pixels {
  const [height, width] = encoded.shape;
  return { data: bytes(encoded), width, height };
}

/** The largest difference of numbers. */
export function difference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) {
    throw new Error(`There are ${found.length} numbers in place of ${expected.length}.`);
  }
  return Array.from(found).reduce(
    (largest, value, i) => Math.max(largest, Math.abs(value - expected[i])),
    0,
  );
}

// As `predict` draws them; where a network is less sure, its maximum is flat.
export const KEYPOINT_THR = 0.3;
/** How far pixels of the crop that are rounded otherwise move points and change scores at most. */
export const CROP_PIXELS = 0.1;
export const CROP_SCORE = 5e-3;

/**
 * Compare people with PoseRuntime's.
 *
 * @returns How far key points that score above 0.3 are apart at most and in the
 *   median, in pixels of the crop as docs/export.md's check counts, and how much
 *   scores differ at most.
 */
export function compare(
  found: Instance[],
  expected: Instance[],
  { input_size, padding }: Pick<PoseMetadata, 'input_size' | 'padding'>,
): { pixels: number; median: number; score: number } {
  if (found.length !== expected.length) {
    throw new Error(`There are ${found.length} people in place of ${expected.length}.`);
  }
  const distances: number[] = [];
  let scoreDifference = 0;
  expected.forEach(({ keypoints, keypoint_scores, bbox: [box] }, i) => {
    const scale =
      Math.min(input_size[0] / (box[2] - box[0]), input_size[1] / (box[3] - box[1])) / padding;
    keypoint_scores.forEach((score, k) => {
      scoreDifference = Math.max(scoreDifference, Math.abs(found[i].keypoint_scores[k] - score));
      if (score > KEYPOINT_THR) {
        const [x, y] = found[i].keypoints[k];
        distances.push(Math.hypot(x - keypoints[k][0], y - keypoints[k][1]) * scale);
      }
    });
  });
  distances.sort((a, b) => a - b);
  const median = distances[Math.floor(distances.length / 2)] ?? 0;
  return { pixels: distances.at(-1) ?? 0, median, score: scoreDifference };
}
