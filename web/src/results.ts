/** Results in the layout of `lgm-pose predict` and MMPose's inferencers. */
import type { Person } from './network';

/** What MMPose's inferencers write of a person. */
export interface Instance {
  keypoints: number[][];
  keypoint_scores: number[];
  bbox: number[][];
  bbox_score: number;
}

/** What they write of an image. */
export function instances(people: Person[]): Instance[] {
  return people.map(({ keypoints, scores, box, boxScore }) => ({
    keypoints: Array.from(scores, (_, k) => [keypoints[2 * k], keypoints[2 * k + 1]]),
    keypoint_scores: [...scores],
    bbox: [[...box]],
    bbox_score: boxScore,
  }));
}

/**
 * The JSON file of a picture or, with all their frames, a video or camera.
 *
 * The text is made in pieces: that of an hour is too long for one string.
 */
export function toJson(frames: Person[][], isVideo: boolean): Blob {
  const type = 'application/json';
  if (!isVideo) {
    return new Blob([JSON.stringify(instances(frames[0]), null, 2)], { type });
  }
  const parts = frames.map(
    (people, frame_id) =>
      `${frame_id ? ',\n' : ''}${JSON.stringify({ frame_id, instances: instances(people) })}`,
  );
  return new Blob(['[\n', ...parts, '\n]\n'], { type });
}

/** The name `predict` gives to the JSON file of a source. */
export function resultName(source: string): string {
  return `${source.replace(/\.[^.]*$/, '')}.json`;
}

/** What a screen reader says of a frame. */
export function describe(people: Person[], threshold: number): string {
  const seen = people
    .map(({ scores }) => scores.filter((score) => score > threshold).length)
    .filter((count) => count > 0);
  if (!seen.length) {
    return 'Nobody found.';
  }
  const total = people[0].scores.length;
  const who = seen.length === 1 ? '1 person' : `${seen.length} people`;
  return `${who} found, with ${seen.join(', ')} of ${total} key points.`;
}
