/** Frames of pictures, videos and cameras. */
/** A frame, and its time in seconds from the first one. */
export interface Frame {
  image: ImageBitmap;
  seconds: number;
}

export interface Source {
  kind: 'picture' | 'video' | 'camera';
  /** Of results. */
  name: string;
  /** Of a video. */
  duration?: number;
  frames: AsyncGenerator<Frame>;
}

/**
 * Open a picture or a video.
 *
 * @throws If the browser can read it as neither.
 */
export async function openFile(file: File): Promise<Source> {
  const image = await readPicture(file);
  if (image) {
    return { kind: 'picture', name: file.name, frames: once(image) };
  }
  // Pictures and the camera do without it.
  const { openVideo } = await import('./video');
  return openVideo(file);
}

/** The picture as its bytes say, turned as its EXIF data say. */
async function readPicture(file: Blob): Promise<ImageBitmap | undefined> {
  try {
    // As OpenCV, which leaves colours as they are.
    return await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    return undefined;
  }
}

async function* once(image: ImageBitmap): AsyncGenerator<Frame> {
  yield { image, seconds: 0 };
}

/** What to look through: a camera by its id, else one that looks at the user. */
export async function openCamera(deviceId: string): Promise<Source> {
  if (!navigator.mediaDevices) {
    throw new Error('Browsers give the camera to pages of https:// or of this machine alone.');
  }
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' },
    });
  } catch (error) {
    const { name, message } = error as DOMException;
    throw new Error(
      name === 'NotAllowedError'
        ? 'The browser was not allowed to use the camera. Allow it in the settings of the page.'
        : `No camera can be used: ${message || name}.`,
    );
  }
  return { kind: 'camera', name: 'camera', frames: cameraFrames(stream) };
}

/** The newest frame of a camera whenever one is asked for. */
async function* cameraFrames(stream: MediaStream): AsyncGenerator<Frame> {
  const video = document.createElement('video');
  try {
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    await video.play();
    const start = performance.now();
    const [track] = stream.getVideoTracks();
    while (track.readyState === 'live') {
      await nextFrame(video);
      yield { image: await createImageBitmap(video), seconds: (performance.now() - start) / 1000 };
    }
    throw new Error('The camera was taken away.');
  } finally {
    for (const track of stream.getTracks()) {
      track.stop();
    }
  }
}

/** Wait for a frame that was not shown before. */
function nextFrame(video: HTMLVideoElement): Promise<void> {
  return new Promise((resolve) => {
    if ('requestVideoFrameCallback' in video) {
      video.requestVideoFrameCallback(() => resolve());
    } else {
      requestAnimationFrame(() => resolve());
    }
  });
}
