/** Who is in the frames of a video: lgm_pose_plugin/apis/predictor.py. */
import type { Person, PoseNetwork, ScoredBox } from './network';
import { type Box, type Pixels, wholeImage } from './preprocessing';

export type FindPeople = (image: Pixels) => Promise<ScoredBox[]>;

// A person's box by the rectangle around the key points; lower scores do not
// count for it.
const KEYPOINTS_TO_BOX = [1.3, 1.2];
const KEYPOINT_THR = 0.3;
// Windows of a first pass: width by height, and what networks pad boxes by.
const WINDOW_RATIO = 3 / 4;
const PADDING = 1.25;
const MAX_WINDOWS = 16;

type Predict = PoseNetwork['predict'];

/**
 * Take an image as one person, whose box a first pass finds: it looks at the
 * whole image and at windows of it. The box goes around the key points where
 * they score highest. Without any, it is the whole image.
 */
export function lookTwice(predict: Predict): FindPeople {
  return async (image) => {
    const boxes = [wholeImage(image), ...windows(image.width, image.height)];
    const people = await predict(
      image,
      boxes.map((box) => ({ box, boxScore: 1 })),
    );
    const sum = (values: Float32Array): number => values.reduce((total, one) => total + one, 0);
    const best = people.reduce((a, b) => (sum(b.scores) > sum(a.scores) ? b : a));
    const found = boxesOfKeypoints([best], image);
    return found.length ? found : [{ box: boxes[0], boxScore: 1 }];
  };
}

/** Boxes whose crops a person fills that stands in a wide image. */
export function windows(width: number, height: number): Box[] {
  const side = [Math.min(width, height * WINDOW_RATIO), Math.min(height, width / WINDOW_RATIO)];
  const room = [width - side[0], height - side[1]];
  const count = Math.ceil(Math.max((2 * room[0]) / side[0], (2 * room[1]) / side[1])) + 1;
  const used = Math.min(count, MAX_WINDOWS);
  return Array.from({ length: used }, (_, i) => {
    const part = used > 1 ? i / (used - 1) : 0;
    const [x, y] = [0, 1].map((axis) => side[axis] / 2 + room[axis] * part);
    const [w, h] = side.map((one) => one / 2 / PADDING);
    return [x - w, y - h, x + w, y + h];
  });
}

/**
 * Boxes around key points, for the frame that follows. People are left out
 * who have fewer than two key points apart in both directions, who are
 * outside of the image, or whose box is more than four times as large.
 */
export function boxesOfKeypoints(people: Person[], image: Pixels): ScoredBox[] {
  const size = [image.width, image.height];
  const boxes: ScoredBox[] = [];
  for (const { keypoints, scores, boxScore } of people) {
    const sides = [0, 1].map((axis) => {
      const seen = keypoints.filter(
        (_, i) => i % 2 === axis && scores[(i - axis) / 2] > KEYPOINT_THR,
      );
      const [low, high] = [Math.min(...seen), Math.max(...seen)];
      const center = (low + high) / 2;
      const half = ((high - low) / 2) * KEYPOINTS_TO_BOX[axis];
      return { isApart: high > low, low: center - half, high: center + half };
    });
    const isKept = sides.every(
      ({ isApart, low, high }, axis) =>
        isApart && high > 0 && low < size[axis] && high - low <= 4 * size[axis],
    );
    if (isKept) {
      const [x, y] = sides;
      boxes.push({ box: [x.low, y.low, x.high, y.high], boxScore });
    }
  }
  return boxes;
}

/** Predicts the frames of one video after the other. */
export class Follower {
  private frame = 0;
  private last: Person[] | undefined;

  constructor(
    private readonly predict: Predict,
    private readonly findPeople: FindPeople,
  ) {}

  /**
   * Predict the next frame.
   *
   * @param findEvery Frames from one search for people to the next. Between
   *   them, boxes follow the key points as long as nobody is lost.
   */
  async next(image: Pixels, findEvery: number): Promise<Person[]> {
    let boxes: ScoredBox[] | undefined;
    if (this.last && this.frame % findEvery) {
      boxes = boxesOfKeypoints(this.last, image);
      if (boxes.length < Math.max(1, this.last.length)) {
        boxes = undefined;
      }
    }
    boxes ??= await this.findPeople(image);
    this.frame++;
    this.last = await this.predict(image, boxes);
    return this.last;
  }
}
