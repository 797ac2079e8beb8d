/**
 * Decode heat maps and SimCC vectors, as MMPose's codecs do.
 *
 * The same as lgm_pose_plugin/runtime/decoding.py, for one person. Files that
 * `lgm-pose export` writes without `--no-decode` decode in the graph.
 */
import type { Codec } from './metadata';

/** Values of one person: K maps of height x width, or K vectors. */
export interface Maps {
  data: Float32Array;
  width: number;
  height: number;
}

/** Key points (x, y in turns) in pixels of the crop, and their scores. */
export interface Decoded {
  keypoints: Float32Array;
  scores: Float32Array;
}

/** Reads a map beside a location. */
type Sampler = (dx: number, dy: number) => number;

/** Whether {@link decodeHeatmaps} or {@link decodeSimcc} takes a codec. */
export function isDecodable(codec: Codec): boolean {
  if (codec.type === 'SimCCLabel') {
    return !(codec.use_dark || codec.decode_visibility);
  }
  if (codec.type === 'UDPHeatmap') {
    return codec.heatmap_type === 'gaussian';
  }
  return codec.type === 'MSRAHeatmap' || codec.type === 'SoftmaxUDPHeatmap';
}

/** SimCCLabel: the largest value of both vectors of each key point. */
export function decodeSimcc(
  x: Float32Array,
  y: Float32Array,
  count: number,
  codec: Codec,
): Decoded {
  const keypoints = new Float32Array(2 * count);
  const scores = new Float32Array(count);
  for (let k = 0; k < count; k++) {
    const places = [x, y].map((vectors) => {
      const size = vectors.length / count;
      const vector = vectors.subarray(k * size, (k + 1) * size);
      const at = argmax(vector);
      return { at, score: vector[at] };
    });
    scores[k] = Math.min(places[0].score, places[1].score);
    places.forEach(({ at }, axis) => {
      keypoints[2 * k + axis] = (scores[k] > 0 ? at : -1) / (codec.simcc_split_ratio ?? 1);
    });
  }
  return { keypoints, scores };
}

/** MSRAHeatmap, UDPHeatmap (gaussian) and SoftmaxUDPHeatmap. */
export function decodeHeatmaps(maps: Maps, codec: Codec): Decoded {
  const { width, height, data } = maps;
  const size = width * height;
  const count = data.length / size;
  const keypoints = new Float32Array(2 * count);
  const scores = new Float32Array(count);
  const isMsra = codec.type === 'MSRAHeatmap';
  const isSoftmax = codec.type === 'SoftmaxUDPHeatmap';
  const kernel = gaussianKernel(codec.blur_kernel_size ?? 1);
  for (let k = 0; k < count; k++) {
    let map = data.subarray(k * size, (k + 1) * size);
    if (isSoftmax) {
      map = softmax(map, codec.sigma ?? 1);
    }
    scores[k] = map[argmax(map)];
    let place = [-1, -1];
    if (scores[k] > 0) {
      const isBlurred = !isMsra || codec.unbiased;
      const blurred = isBlurred ? blur({ data: map, width, height }, kernel) : map;
      const index = argmax(isSoftmax ? blurred : map);
      const x = index % width;
      const y = (index - x) / width;
      const refine = isMsra ? (codec.unbiased ? refineDark : refineQuarter) : refineUdp;
      let step = refine({ data: blurred, width, height }, x, y);
      if (isSoftmax) {
        step = step.map((value) => Math.min(Math.max(value, -MAX_STEP), MAX_STEP));
      }
      place = [x + step[0], y + step[1]];
    }
    const less = isMsra ? 0 : 1;
    keypoints[2 * k] = (place[0] / (width - less)) * codec.input_size[0];
    keypoints[2 * k + 1] = (place[1] / (height - less)) * codec.input_size[1];
  }
  return { keypoints, scores };
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if (values[i] > values[best]) {
      best = i;
    }
  }
  return best;
}

/** Softmax over a map, as high as a Gaussian of this sigma. */
function softmax(map: Float32Array, sigma: number): Float32Array {
  const highest = map[argmax(map)];
  const result = map.map((value) => Math.exp(value - highest));
  const sum = result.reduce((total, value) => total + value, 0);
  return result.map((value) => (value * 2 * Math.PI * sigma ** 2) / sum);
}

/** The largest refinement of SoftmaxUDPHeatmap, along x and y. */
const MAX_STEP = 1;

/** The step from the cell (x, y) of a map that is blurred where the codec blurs. */
type Refine = (map: Maps, x: number, y: number) => number[];

/** A quarter pixel towards the larger neighbour: refine_keypoints. */
const refineQuarter: Refine = ({ data, width, height }, x, y) => {
  const at: Sampler = (dx, dy) => data[(y + dy) * width + x + dx];
  const isInside = x > 1 && x < width - 1 && y > 0;
  const isInsideY = y > 1 && y < height - 1 && x > 0;
  return [
    isInside ? 0.25 * Math.sign(at(1, 0) - at(-1, 0)) : 0,
    isInsideY ? 0.25 * Math.sign(at(0, 1) - at(0, -1)) : 0,
  ];
};

/** The maximum of a second-order expansion: refine_keypoints_dark. */
const refineDark: Refine = (map, x, y) => {
  if (!(x > 1 && x < map.width - 2 && y > 1 && y < map.height - 2)) {
    return [0, 0];
  }
  const at = logSampler(map, x, y, 1e-10, Number.POSITIVE_INFINITY);
  const dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0));
  const dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2));
  const dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1));
  return newtonStep(at, dxx, dyy, dxy);
};

/** The same as UDP computes it: refine_keypoints_dark_udp. */
const refineUdp: Refine = (map, x, y) => {
  const at = logSampler(map, x, y, 1e-3, 50);
  const eps = 2 ** -23;
  const dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0) + eps;
  const dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1) + eps;
  const dxy =
    0.5 * (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1));
  return newtonStep(at, dxx, dyy, dxy);
};

/** -inverse(Hessian) @ gradient. */
function newtonStep(at: Sampler, dxx: number, dyy: number, dxy: number): number[] {
  const dx = 0.5 * (at(1, 0) - at(-1, 0));
  const dy = 0.5 * (at(0, 1) - at(0, -1));
  const determinant = dxx * dyy - dxy * dxy;
  if (determinant === 0) {
    return [0, 0];
  }
  return [-(dyy * dx - dxy * dy) / determinant, -(dxx * dy - dxy * dx) / determinant];
}

/** The logarithm of a clipped map beside (x, y). */
function logSampler(map: Maps, x: number, y: number, low: number, high: number): Sampler {
  const { data, width, height } = map;
  const inside = (place: number, size: number): number => Math.min(Math.max(place, 0), size - 1);
  return (dx, dy) => {
    const value = data[inside(y + dy, height) * width + inside(x + dx, width)];
    return Math.log(Math.min(Math.max(value, low), high));
  };
}

/** Gaussian blur that keeps the map's maximum: gaussian_blur. */
function blur({ data, width, height }: Maps, kernel: number[]): Float32Array {
  const rows = convolve(data, width, height, kernel, 1, width);
  const result = convolve(rows, height, width, kernel, width, 1);
  const scale = data[argmax(data)] / result[argmax(result)];
  return result.map((value) => value * scale);
}

/** Convolve lines of a map, with zeros beyond its border. */
function convolve(
  data: Float32Array,
  length: number,
  lines: number,
  kernel: number[],
  step: number,
  lineStep: number,
): Float32Array {
  const result = new Float32Array(data.length);
  const border = (kernel.length - 1) / 2;
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < length; i++) {
      let sum = 0;
      const first = Math.max(0, border - i);
      const last = Math.min(kernel.length, length + border - i);
      for (let j = first; j < last; j++) {
        sum += kernel[j] * data[line * lineStep + (i + j - border) * step];
      }
      result[line * lineStep + i * step] = sum;
    }
  }
  return result;
}

// What OpenCV takes for small kernels in place of a Gaussian's values.
const SMALL_KERNELS: Record<number, number[]> = {
  1: [1],
  3: [0.25, 0.5, 0.25],
  5: [0.0625, 0.25, 0.375, 0.25, 0.0625],
  7: [0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125],
  9: [
    0.015625, 0.05078125, 0.1171875, 0.19921875, 0.234375, 0.19921875, 0.1171875, 0.05078125,
    0.015625,
  ],
};

/** cv2.getGaussianKernel with the sigma that belongs to the size. */
export function gaussianKernel(size: number): number[] {
  const small = SMALL_KERNELS[size];
  if (small) {
    return small;
  }
  const sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8;
  const values = Array.from({ length: size }, (_, i) =>
    Math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma ** 2)),
  );
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}
