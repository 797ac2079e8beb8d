/**
 * Boxes of people in images, by a detector of `lgm-pose export`:
 * lgm_pose_plugin/runtime/detector_runtime.py and apis/person_detector.py.
 */
import type { DetectorMetadata } from './metadata';
import type { ScoredBox } from './network';
import { type Box, letterbox, type Pixels } from './preprocessing';
import { Batches, type OrtSession } from './session';

// As `lgm-pose predict`: --bbox-thr and --nms-thr.
const SCORE_THR = 0.3;
const NMS_THR = 0.3;

export class PersonDetector {
  /** Milliseconds that the network itself has taken. */
  milliseconds = 0;
  private readonly batches: Batches;
  private readonly label: number;

  constructor(
    session: OrtSession,
    private readonly metadata: DetectorMetadata,
    file: string,
  ) {
    this.label = metadata.classes.indexOf('person');
    if (this.label < 0) {
      throw new Error(
        `${file} finds ${metadata.classes.slice(0, 5).join(', ')}. This page needs a class "person".`,
      );
    }
    this.batches = new Batches(session, metadata, file);
  }

  /** Find the people in an image; the highest score is first. */
  async detect(image: Pixels): Promise<ScoredBox[]> {
    const { input_size, pad_value } = this.metadata;
    let factors: [number, number] = [1, 1];
    const found: ScoredBox[] = [];
    this.milliseconds += await this.batches.run(
      1,
      (_, target) => {
        factors = letterbox(image, input_size, pad_value, target);
      },
      (_, part) => {
        const [{ data: boxes }, { data: labels }] = [part('dets'), part('labels')];
        labels.forEach((label, i) => {
          const [left, top, right, bottom, boxScore] = boxes.subarray(5 * i, 5 * i + 5);
          const box: Box = [
            left / factors[0],
            top / factors[1],
            right / factors[0],
            bottom / factors[1],
          ];
          const isLarge = box[2] - box[0] >= 1 && box[3] - box[1] >= 1;
          if (label === this.label && boxScore > SCORE_THR && isLarge) {
            found.push({ box, boxScore });
          }
        });
      },
    );
    return suppress(found, NMS_THR);
  }
}

/** Suppress boxes that overlap one with a higher score; their last pixel counts. */
export function suppress(found: ScoredBox[], threshold: number): ScoredBox[] {
  const kept: ScoredBox[] = [];
  for (const one of found.toSorted((a, b) => b.boxScore - a.boxScore)) {
    if (kept.every((other) => overlap(one.box, other.box) <= threshold)) {
      kept.push(one);
    }
  }
  return kept;
}

/** Intersection over union. */
function overlap(a: Box, b: Box): number {
  const area = ([left, top, right, bottom]: Box): number =>
    Math.max(0, right + 1 - left) * Math.max(0, bottom + 1 - top);
  const shared = area([
    Math.max(a[0], b[0]),
    Math.max(a[1], b[1]),
    Math.min(a[2], b[2]),
    Math.min(a[3], b[3]),
  ]);
  return shared / (area(a) + area(b) - shared);
}
