/** Skeletons, drawn over a frame. */
import type { PoseMetadata } from './metadata';
import type { Person } from './network';

// A colour for each person, all bright; the dark rim tells them from the
// picture.
const COLORS = ['#ffd166', '#4cc9f0', '#ff6b9d', '#80ed99', '#c8a2ff', '#ff9f5a'];
const RIM = '#101014';

export interface Style {
  threshold: number;
  boxes: boolean;
}

/** Draw a frame and who is in it, as large as the frame is. */
export function drawFrame(
  canvas: HTMLCanvasElement,
  frame: ImageBitmap,
  people: Person[],
  metadata: PoseMetadata,
  style: Style,
): void {
  if (canvas.width !== frame.width || canvas.height !== frame.height) {
    canvas.width = frame.width;
    canvas.height = frame.height;
  }
  const context = canvas.getContext('2d');
  if (!context) {
    return;
  }
  context.drawImage(frame, 0, 0);
  // Thin enough for a face, thick enough to be seen in a small window.
  const width = Math.max(1.5, Math.max(frame.width, frame.height) / 240);
  context.lineCap = 'round';
  people.forEach((person, i) => {
    drawPerson(context, person, COLORS[i % COLORS.length], width, metadata, style);
  });
}

function drawPerson(
  context: CanvasRenderingContext2D,
  { box, keypoints, scores }: Person,
  color: string,
  width: number,
  metadata: PoseMetadata,
  style: Style,
): void {
  const isSeen = (k: number): boolean => scores[k] > style.threshold;
  const lines = new Path2D();
  for (const [a, b] of metadata.skeleton) {
    if (isSeen(a) && isSeen(b)) {
      lines.moveTo(keypoints[2 * a], keypoints[2 * a + 1]);
      lines.lineTo(keypoints[2 * b], keypoints[2 * b + 1]);
    }
  }
  const points = new Path2D();
  scores.forEach((_, k) => {
    if (isSeen(k)) {
      const [x, y] = [keypoints[2 * k], keypoints[2 * k + 1]];
      points.moveTo(x + 1.4 * width, y);
      points.arc(x, y, 1.4 * width, 0, 2 * Math.PI);
    }
  });
  if (style.boxes && scores.some((_, k) => isSeen(k))) {
    lines.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
  }
  context.strokeStyle = RIM;
  context.lineWidth = 2 * width;
  context.stroke(lines);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(lines);
  context.fillStyle = color;
  context.strokeStyle = RIM;
  context.lineWidth = width;
  context.stroke(points);
  context.fill(points);
}
