/** Every frame of videos, decoded by the browser. */
import { BlobSource, Input, MATROSKA, MP4, MPEG_TS, QTFF, VideoSampleSink, WEBM } from 'mediabunny';
import type { Frame, Source } from './sources';

const FORMATS = [MP4, QTFF, MATROSKA, WEBM, MPEG_TS];

/**
 * Open a video.
 *
 * @throws If it is not one, or the browser has no decoder for it.
 */
export async function openVideo(file: File): Promise<Source> {
  const { name } = file;
  const input = new Input({ source: new BlobSource(file), formats: FORMATS });
  const track = (await input.canRead()) ? await input.getPrimaryVideoTrack() : null;
  if (!track) {
    throw new Error(`The browser reads ${name} neither as a picture nor as a video.`);
  }
  if (!(await track.canDecode())) {
    const codec = (await track.getCodec()) ?? 'its codec';
    throw new Error(`The browser has no decoder for ${codec}, which ${name} has. Convert it.`);
  }
  return {
    kind: 'video',
    name,
    duration: await track.computeDuration(),
    frames: videoFrames(new VideoSampleSink(track)),
  };
}

/** Every frame of a video, as fast as they are asked for. */
async function* videoFrames(sink: VideoSampleSink): AsyncGenerator<Frame> {
  const canvas = new OffscreenCanvas(1, 1);
  let start: number | undefined;
  for await (const sample of sink.samples()) {
    canvas.width = sample.displayWidth;
    canvas.height = sample.displayHeight;
    const context = canvas.getContext('2d', { alpha: false });
    if (!context) {
      throw new Error('The browser has no memory for frames of this size.');
    }
    sample.draw(context, 0, 0);
    start ??= sample.timestamp;
    const seconds = sample.timestamp - start;
    sample.close();
    yield { image: canvas.transferToImageBitmap(), seconds };
  }
}
