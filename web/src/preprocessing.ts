/**
 * From an image and boxes to the inputs of a network.
 *
 * The same as lgm_pose_plugin/runtime/preprocessing.py. Images are RGBA, as
 * ImageData; inputs of networks are BGR, as OpenCV reads them.
 */
import type { InputMetadata, PoseMetadata } from './metadata';

/** What is used of ImageData. */
export interface Pixels {
  data: Uint8ClampedArray | Uint8Array;
  width: number;
  height: number;
}

/** Left, top, right and bottom in pixels of the image. */
export type Box = [number, number, number, number];

/** Centre and padded size of a person's crop, in pixels of the image. */
export interface Region {
  cx: number;
  cy: number;
  width: number;
  height: number;
}

/** Where the pixels of a row or column of a crop lie in the image. */
interface Axis {
  /** The image's pixel before each. */
  at: Int32Array;
  /** How far each is from there towards the next one, from 0 to 1. */
  part: Float64Array;
}

/** The whole image as a box. */
export function wholeImage(image: Pixels): Box {
  return [0, 0, image.width, image.height];
}

/**
 * The region that is cut out for a box: GetBBoxCenterScale and
 * TopdownAffine._fix_aspect_ratio of MMPose.
 */
export function regionOfBox(box: Box, metadata: PoseMetadata): Region {
  const [left, top, right, bottom] = box;
  const width = (right - left) * metadata.padding;
  const height = (bottom - top) * metadata.padding;
  const ratio = metadata.input_size[0] / metadata.input_size[1];
  const isWide = width > height * ratio;
  return {
    cx: (left + right) / 2,
    cy: (top + bottom) / 2,
    width: isWide ? width : height * ratio,
    height: isWide ? width / ratio : height,
  };
}

/** Points of a crop in pixels of the image, in place; x and y take turns. */
export function toImage(points: Float32Array, region: Region, metadata: PoseMetadata): void {
  const [width, height] = metadata.input_size;
  for (let i = 0; i < points.length; i += 2) {
    points[i] = (points[i] / width) * region.width + region.cx - region.width / 2;
    points[i + 1] = (points[i + 1] / height) * region.height + region.cy - region.height / 2;
  }
}

/** Cut a person out, as TopdownAffine; the crop is BGR, row by row. */
export function crop(
  image: Pixels,
  region: Region,
  metadata: PoseMetadata,
  target: Uint8Array,
): void {
  const [width, height] = metadata.input_size;
  let x: Axis;
  let y: Axis;
  if (metadata.use_udp) {
    // get_udp_warp_matrix
    x = axis(width, region.width / (width - 1), region.cx - region.width / 2);
    y = axis(height, region.height / (height - 1), region.cy - region.height / 2);
  } else {
    // get_warp_matrix, which has one scale for both directions
    const step = region.width / width;
    x = axis(width, step, region.cx - (step * width) / 2);
    y = axis(height, step, region.cy - (step * height) / 2);
  }
  sample(image, x, y, target, width, false);
}

function axis(count: number, step: number, start: number): Axis {
  const at = new Int32Array(count);
  const part = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const place = start + i * step;
    at[i] = Math.floor(place);
    part[i] = place - at[i];
  }
  return { at, part };
}

/**
 * Bilinear interpolation at rows and columns, from RGBA to BGR.
 *
 * Beyond the border there are zeros or, with `clamp`, the border's pixels.
 */
function sample(
  image: Pixels,
  x: Axis,
  y: Axis,
  target: Uint8Array,
  rowLength: number,
  clamp: boolean,
): void {
  const { data, width, height } = image;
  const columns = x.at.length;
  // Offsets of both neighbours and their weights, 0 for what is outside.
  const left = new Int32Array(columns);
  const right = new Int32Array(columns);
  const leftWeight = new Float64Array(columns);
  const rightWeight = new Float64Array(columns);
  const inside = (place: number, size: number): number =>
    clamp || (place >= 0 && place < size) ? 1 : 0;
  const nearest = (place: number, size: number): number => Math.min(Math.max(place, 0), size - 1);
  for (let i = 0; i < columns; i++) {
    const at = x.at[i];
    left[i] = 4 * nearest(at, width);
    right[i] = 4 * nearest(at + 1, width);
    leftWeight[i] = (1 - x.part[i]) * inside(at, width);
    rightWeight[i] = x.part[i] * inside(at + 1, width);
  }
  for (let row = 0; row < y.at.length; row++) {
    const at = y.at[row];
    const above = 4 * width * nearest(at, height);
    const below = 4 * width * nearest(at + 1, height);
    const aboveWeight = (1 - y.part[row]) * inside(at, height);
    const belowWeight = y.part[row] * inside(at + 1, height);
    let out = row * rowLength * 3;
    for (let i = 0; i < columns; i++) {
      const a = aboveWeight * leftWeight[i];
      const b = aboveWeight * rightWeight[i];
      const c = belowWeight * leftWeight[i];
      const d = belowWeight * rightWeight[i];
      const p = above + left[i];
      const q = above + right[i];
      const r = below + left[i];
      const s = below + right[i];
      for (let channel = 2; channel >= 0; channel--) {
        target[out++] =
          a * data[p + channel] +
          b * data[q + channel] +
          c * data[r + channel] +
          d * data[s + channel] +
          0.5;
      }
    }
  }
}

/**
 * Resize an image to fit in the top left of a canvas, as MMDetection.
 *
 * @returns The factors that width and height were multiplied by.
 */
export function letterbox(
  image: Pixels,
  size: [number, number],
  padValue: number[],
  target: Uint8Array,
): [number, number] {
  const ratio = Math.min(size[0] / image.width, size[1] / image.height);
  const width = Math.max(1, Math.floor(image.width * ratio + 0.5));
  const height = Math.max(1, Math.floor(image.height * ratio + 0.5));
  for (let i = 0; i < target.length; i++) {
    target[i] = padValue[i % 3];
  }
  // cv2.resize: the middles of pixels are what is mapped.
  const resized = (count: number, from: number): Axis =>
    axis(count, from / count, 0.5 * (from / count) - 0.5);
  sample(image, resized(width, image.width), resized(height, image.height), target, size[0], true);
  return [width / image.width, height / image.height];
}

/** What MMPose's data preprocessor makes of N crops of BGR: (N, 3, H, W). */
export function normalize(
  crops: Uint8Array,
  pixels: number,
  metadata: InputMetadata,
): Float32Array {
  const result = new Float32Array(crops.length);
  for (let start = 0; start < crops.length; start += 3 * pixels) {
    for (let channel = 0; channel < 3; channel++) {
      const from = metadata.bgr_to_rgb ? 2 - channel : channel;
      const mean = metadata.mean[channel];
      const std = metadata.std[channel];
      const plane = start + channel * pixels;
      for (let i = 0; i < pixels; i++) {
        result[plane + i] = (crops[start + 3 * i + from] - mean) / std;
      }
    }
  }
  return result;
}
