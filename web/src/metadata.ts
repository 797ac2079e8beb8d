/**
 * What a file of `lgm-pose export` says of itself; docs/export.md has the
 * fields, lgm_pose_plugin/runtime/metadata.py the same checks.
 */

export interface InputMetadata {
  input_size: [number, number];
  normalize: boolean;
  bgr_to_rgb: boolean;
  mean: number[];
  std: number[];
  precision?: string;
}

export interface Codec {
  type: string;
  input_size: [number, number];
  simcc_split_ratio?: number;
  blur_kernel_size?: number;
  unbiased?: boolean;
  heatmap_type?: string;
  sigma?: number;
  use_dark?: boolean;
  decode_visibility?: boolean;
}

export interface PoseMetadata extends InputMetadata {
  task?: 'pose';
  decode: boolean;
  use_udp: boolean;
  padding: number;
  codec: Codec;
  keypoint_names: string[];
  skeleton: [number, number][];
}

export interface DetectorMetadata extends InputMetadata {
  task: 'detection';
  pad_value: number[];
  classes: string[];
}

export type Metadata = PoseMetadata | DetectorMetadata;

export function isDetector(metadata: Metadata): metadata is DetectorMetadata {
  return metadata.task === 'detection';
}

const KEY = 'lgm_pose_plugin';
const FORMAT_VERSION = 2;
// Numbers of fields in ONNX's messages: of a model its properties, of a
// property key and value.
const [PROPERTIES, PROPERTY_KEY, PROPERTY_VALUE] = [14, 1, 2];

type Rule = [fits: (value: unknown) => boolean, wanted: string];

const isNumber = (low: number, high: number): Rule => [
  (value) => typeof value === 'number' && value >= low && value <= high,
  `a number from ${low} to ${high}`,
];
const isWhole = (low: number, high: number): Rule => [
  (value) => Number.isInteger(value) && Number(value) >= low && Number(value) <= high,
  `a whole number from ${low} to ${high}`,
];
const isList = ([fits, wanted]: Rule, low: number, high: number): Rule => [
  (value) =>
    Array.isArray(value) && value.length >= low && value.length <= high && value.every(fits),
  `a list of ${low === high ? low : `${low} to ${high}`}, each ${wanted}`,
];
const isBool: Rule = [(value) => typeof value === 'boolean', 'true or false'];
const isText: Rule = [(value) => typeof value === 'string', 'a text'];
const isOdd: Rule = [
  (value) => isWhole(1, 99)[0](value) && Number(value) % 2 === 1,
  'an odd number up to 99',
];

const INPUT: Record<string, Rule> = {
  normalize: isBool,
  bgr_to_rgb: isBool,
  input_size: isList(isWhole(1, 4096), 2, 2),
  mean: isList(isNumber(-1e6, 1e6), 3, 3),
  std: isList(isNumber(1e-6, 1e6), 3, 3),
};
const DETECTOR: Record<string, Rule> = {
  ...INPUT,
  pad_value: isList(isWhole(0, 255), 3, 3),
  classes: isList(isText, 1, 10_000),
};
const POSE: Record<string, Rule> = {
  ...INPUT,
  decode: isBool,
  use_udp: isBool,
  padding: isNumber(0.01, 100),
  keypoint_names: isList(isText, 1, 1000),
  skeleton: isList(isList(isWhole(0, 999), 2, 2), 0, 1e6),
};
// As far as decoding needs them.
const CODECS: Record<string, Record<string, Rule>> = {
  SimCCLabel: { simcc_split_ratio: isNumber(0.01, 100) },
  MSRAHeatmap: { blur_kernel_size: isOdd, unbiased: isBool },
  UDPHeatmap: { blur_kernel_size: isOdd, heatmap_type: isText },
  SoftmaxUDPHeatmap: { blur_kernel_size: isOdd, sigma: isNumber(1e-3, 1e3) },
};

function check(values: object, rules: Record<string, Rule>, file: string, prefix = ''): void {
  for (const [key, [fits, wanted]] of Object.entries(rules)) {
    const value = (values as Record<string, unknown>)[key];
    if (!fits(value)) {
      const found = JSON.stringify(value)?.slice(0, 60);
      throw new Error(
        `${file} has wrong metadata: ${prefix}${key} must be ${wanted}, found ${found}. Export the network again.`,
      );
    }
  }
}

/**
 * Read the metadata of an ONNX file.
 *
 * @throws If it is not an ONNX file of `lgm-pose export`.
 */
export function readMetadata(bytes: Uint8Array, file: string): Metadata {
  let text: string | undefined;
  try {
    text = findProperty(bytes, KEY);
  } catch (error) {
    throw new Error(`${file} is not an ONNX file, or truncated (${(error as Error).message}).`);
  }
  if (text === undefined) {
    throw new Error(
      `${file} holds no metadata of lgm_pose_plugin. Make it with \`lgm-pose export\`.`,
    );
  }
  return parseMetadata(text, file);
}

/** Check metadata, see {@link readMetadata}. */
export function parseMetadata(text: string, file: string): Metadata {
  let metadata: Metadata & { format_version: unknown };
  try {
    metadata = JSON.parse(text);
    check(metadata, { format_version: isWhole(1, 1e6) }, file);
  } catch (error) {
    throw new Error(`${file} holds metadata that cannot be read: ${(error as Error).message}`);
  }
  if (Number(metadata.format_version) > FORMAT_VERSION) {
    throw new Error(
      `${file} has format version ${metadata.format_version}. This page reads up to ${FORMAT_VERSION}; build it anew.`,
    );
  }
  const { task } = metadata;
  check(
    { task: task ?? 'pose' },
    { task: [(one) => one === 'pose' || one === 'detection', 'pose or detection'] },
    file,
  );
  if (isDetector(metadata)) {
    check(metadata, DETECTOR, file);
    return metadata;
  }
  check(metadata, POSE, file);
  const { codec, keypoint_names, skeleton, input_size } = metadata;
  check(
    metadata,
    {
      codec: [(one) => typeof (one as Codec | null)?.type === 'string', 'a dictionary with a type'],
    },
    file,
  );
  const isSize: Rule = [(one) => `${one}` === `${input_size}`, `${input_size}`];
  check(codec, { input_size: isSize, ...CODECS[codec.type] }, file, 'codec.');
  const isKnown: Rule = [
    () => skeleton.flat().every((one) => one < keypoint_names.length),
    `pairs of numbers below ${keypoint_names.length}`,
  ];
  check(metadata, { skeleton: isKnown }, file);
  // Since version 2 such files hold heat maps, before it their logits.
  if (codec.type === 'SoftmaxUDPHeatmap' && Number(metadata.format_version) > 1) {
    metadata.codec = { ...codec, type: 'UDPHeatmap', heatmap_type: 'gaussian' };
  }
  return metadata;
}

/** A property of an ONNX model, of its metadata_props. */
function findProperty(model: Uint8Array, key: string): string | undefined {
  const decoder = new TextDecoder();
  for (const [number, property] of fields(model)) {
    if (number !== PROPERTIES || !(property instanceof Uint8Array)) {
      continue;
    }
    const texts = new Map<number, string>();
    for (const [part, value] of fields(property)) {
      if (value instanceof Uint8Array) {
        texts.set(part, decoder.decode(value));
      }
    }
    if (texts.get(PROPERTY_KEY) === key) {
      return texts.get(PROPERTY_VALUE);
    }
  }
  return undefined;
}

/** Numbers and values of the fields of a protobuf message. */
function* fields(data: Uint8Array): Generator<[number, Uint8Array | number]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      if (at >= data.length) {
        throw new Error('it ends within a number');
      }
      const byte = data[at++];
      value += (byte & 127) * scale;
      if (byte < 128) {
        return value;
      }
    }
    throw new Error('a number has no end');
  };
  while (at < data.length) {
    const key = varint();
    const kind = key % 8;
    const number = Math.floor(key / 8);
    if (kind === 0) {
      yield [number, varint()];
      continue;
    }
    const size = kind === 1 ? 8 : kind === 5 ? 4 : kind === 2 ? varint() : Number.NaN;
    if (!(at + size <= data.length)) {
      throw new Error('it ends within a field');
    }
    yield [number, data.subarray(at, at + size)];
    at += size;
  }
}
