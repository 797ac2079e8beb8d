/** Key points of people in images: lgm_pose_plugin/runtime/pose_runtime.py. */
import { type Decoded, decodeHeatmaps, decodeSimcc, isDecodable } from './decoding';
import type { PoseMetadata } from './metadata';
import { type Box, crop, type Pixels, regionOfBox, toImage } from './preprocessing';
import { Batches, type OrtSession, type Part } from './session';

/** A person whose key points were found. */
export interface Person extends Decoded {
  box: Box;
  boxScore: number;
}

/** Boxes and their scores. */
export type ScoredBox = Pick<Person, 'box' | 'boxScore'>;

export class PoseNetwork {
  /** Milliseconds that the network itself has taken. */
  milliseconds = 0;
  private readonly batches: Batches;

  constructor(
    session: OrtSession,
    readonly metadata: PoseMetadata,
    private readonly file: string,
  ) {
    if (!metadata.decode && !isDecodable(metadata.codec)) {
      throw new Error(
        `${file} has the codec ${metadata.codec.type}, which is not decoded here. Use MMPose.`,
      );
    }
    this.batches = new Batches(session, metadata, file);
  }

  /** Find the key points of people, in pixels of the image. */
  async predict(image: Pixels, people: ScoredBox[]): Promise<Person[]> {
    const regions = people.map(({ box }) => regionOfBox(box, this.metadata));
    const found = await this.predictCrops(people.length, (i, target) =>
      crop(image, regions[i], this.metadata, target),
    );
    return found.map((decoded, i) => {
      toImage(decoded.keypoints, regions[i], this.metadata);
      return { ...people[i], ...decoded };
    });
  }

  /**
   * Find the key points of one person in each crop, in pixels of the crop.
   *
   * @param count How many crops there are.
   * @param fill Writes crop i into the bytes, in BGR and row by row.
   */
  async predictCrops(
    count: number,
    fill: (i: number, target: Uint8Array) => void,
  ): Promise<Decoded[]> {
    const found: Decoded[] = [];
    this.milliseconds += await this.batches.run(count, fill, (_, part) => {
      found.push(this.decode(part));
    });
    return found;
  }

  private decode(part: (name: string) => Part): Decoded {
    const { codec, decode } = this.metadata;
    const count = this.metadata.keypoint_names.length;
    const get = (name: string, ...dims: (number | undefined)[]): Part => {
      const found = part(name);
      if (`${found.dims}` !== `${dims.map((size, i) => size ?? found.dims[i])}`) {
        throw new Error(
          `${this.file} computes ${name} of shape (${found.dims.join(', ')}) for its ${count} key points. Export it again.`,
        );
      }
      return found;
    };
    if (decode) {
      return { keypoints: get('keypoints', count, 2).data, scores: get('scores', count).data };
    }
    if (codec.type === 'SimCCLabel') {
      const [x, y] = ['simcc_x', 'simcc_y'].map((name) => get(name, count, undefined).data);
      return decodeSimcc(x, y, count, codec);
    }
    const maps = get('heatmaps', count, undefined, undefined);
    return decodeHeatmaps({ data: maps.data, height: maps.dims[1], width: maps.dims[2] }, codec);
  }
}
