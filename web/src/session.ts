/** Networks in ONNX Runtime. */
import type { InferenceSession } from 'onnxruntime-common';
import { Tensor } from 'onnxruntime-common';
import type { InputMetadata } from './metadata';
import { normalize } from './preprocessing';

/** What is used of ONNX Runtime's sessions. */
export type OrtSession = Pick<InferenceSession, 'inputMetadata' | 'inputNames' | 'run'>;
export type Outputs = InferenceSession.ReturnType;

/** One image's part of an output; `dims` are without the batch. */
export interface Part {
  data: Float32Array;
  dims: readonly number[];
}

const PEOPLE_AT_ONCE = 32;
const MAX_BATCH = 4096; // that a file fixes

/** Runs batches of uint8 BGR images of the network's input size. */
export class Batches {
  private readonly fixed: number | undefined;

  constructor(
    private readonly session: OrtSession,
    private readonly metadata: InputMetadata,
    private readonly file: string,
  ) {
    const [input] = session.inputMetadata;
    const batch = input?.isTensor ? input.shape[0] : undefined;
    this.fixed = typeof batch === 'number' ? batch : undefined;
    if (this.fixed !== undefined && !(this.fixed >= 1 && this.fixed <= MAX_BATCH)) {
      throw new Error(
        `${file} takes ${batch} crops at once, which cannot be (1 to ${MAX_BATCH}). Export it again.`,
      );
    }
  }

  /**
   * Run images in as many calls as the batch size needs.
   *
   * @param count How many images there are.
   * @param fill Writes image i into the bytes.
   * @param read Is given image i's part of each output.
   * @returns Milliseconds that the network took.
   */
  async run(
    count: number,
    fill: (i: number, target: Uint8Array) => void,
    read: (i: number, part: (name: string) => Part) => void,
  ): Promise<number> {
    const [width, height] = this.metadata.input_size;
    const size = 3 * width * height;
    let milliseconds = 0;
    for (let start = 0; start < count; start += this.fixed ?? PEOPLE_AT_ONCE) {
      const batch = this.fixed ?? Math.min(PEOPLE_AT_ONCE, count - start);
      const used = Math.min(batch, count - start);
      // The rest of a fixed batch stays black.
      const bytes = new Uint8Array(batch * size);
      for (let i = 0; i < used; i++) {
        fill(start + i, bytes.subarray(i * size, (i + 1) * size));
      }
      const input = this.metadata.normalize
        ? new Tensor('uint8', bytes, [batch, height, width, 3])
        : new Tensor('float32', normalize(bytes, width * height, this.metadata), [
            batch,
            3,
            height,
            width,
          ]);
      const before = performance.now();
      const outputs = await this.session.run({ [this.session.inputNames[0]]: input });
      milliseconds += performance.now() - before;
      for (let i = 0; i < used; i++) {
        read(start + i, (name) => this.part(outputs, name, i, batch));
      }
    }
    return milliseconds;
  }

  private part(outputs: Outputs, name: string, i: number, batch: number): Part {
    const output = outputs[name];
    if (output?.dims[0] !== batch) {
      const found = Object.entries(outputs).map(([key, { dims }]) => `${key} (${dims.join(', ')})`);
      throw new Error(
        `${this.file} computes ${found.join(', ')} for ${batch} images, and not ${name}. Export it again.`,
      );
    }
    const size = output.size / batch;
    // Labels are 64-bit integers.
    const data = Float32Array.from(
      output.data.slice(i * size, (i + 1) * size) as Float32Array | BigInt64Array,
      Number,
    );
    if (!data.every((value) => Math.abs(value) < 1e30)) {
      throw new Error(`${this.file} computes values that are not finite. Its weights are broken.`);
    }
    return { data, dims: output.dims.slice(1) };
  }
}
