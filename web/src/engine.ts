/** The page's end of the worker that runs the networks. */
import type { PoseMetadata } from './metadata';
import type { Person } from './network';

export type Backend = 'wasm' | 'webgpu';

export interface ModelFile {
  name: string;
  bytes: Uint8Array;
}

/** What a worker opens. */
export interface Opening {
  model: ModelFile;
  /** Without one, a frame has one person, who is looked for twice. */
  detector: ModelFile | undefined;
  backend: Backend;
  threads: number;
}

/** Who is in a frame. */
export interface Prediction {
  frame: ImageBitmap;
  people: Person[];
  /** All work on the frame. */
  milliseconds: number;
  /** The networks' part of it. */
  networks: number;
}

export type Request =
  | { kind: 'open'; opening: Opening }
  | { kind: 'predict'; frame: ImageBitmap; isFirst: boolean; findEvery: number };
export type Response = { value: Prediction | PoseMetadata } | { error: string };

const CLOSED = new Error('The network was replaced.');

/** A worker with its networks. */
export class Engine {
  metadata!: PoseMetadata;
  private readonly worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  private isClosed = false;
  private last: Promise<unknown> = Promise.resolve();
  private fail: (error: Error) => void = () => undefined;

  private constructor(readonly opening: Opening) {}

  /**
   * Start a worker that opens the files.
   *
   * @throws If a file is not what it is taken for, or the browser cannot run it.
   */
  static async open(opening: Opening): Promise<Engine> {
    const engine = new Engine(opening);
    try {
      engine.metadata = (await engine.ask({ kind: 'open', opening })) as PoseMetadata;
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  /**
   * Find the people in the next frame of a video, or in a picture.
   *
   * @param frame The frame, which the answer gives back.
   * @param isFirst Whether it is a picture, or the first frame of a video.
   * @param findEvery See Follower.
   */
  predict(frame: ImageBitmap, isFirst: boolean, findEvery: number): Promise<Prediction> {
    const request: Request = { kind: 'predict', frame, isFirst, findEvery };
    return this.ask(request, [frame]) as Promise<Prediction>;
  }

  /** End the worker; what it was asked fails. */
  close(): void {
    this.isClosed = true;
    this.worker.terminate();
    this.fail(CLOSED);
  }

  /** Ask the worker, once it has answered what it was asked before. */
  private ask(request: Request, transfer: Transferable[] = []): Promise<unknown> {
    const answer = this.last.then(() => this.post(request, transfer));
    this.last = answer.catch(() => undefined);
    return answer;
  }

  private post(request: Request, transfer: Transferable[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) {
        reject(CLOSED);
        return;
      }
      this.fail = reject;
      this.worker.onmessage = ({ data }: MessageEvent<Response>) =>
        'error' in data ? reject(new Error(data.error)) : resolve(data.value);
      this.worker.onerror = ({ message }) =>
        reject(new Error(`The worker stopped: ${message || 'its file cannot be loaded'}.`));
      this.worker.postMessage(request, transfer);
    });
  }
}
