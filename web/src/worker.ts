/** The worker: everything that takes time, so that the page stays quick. */
import webgpuModule from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url';
import webgpuBinary from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import wasmModule from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import wasmBinary from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';
import { PersonDetector } from './detector';
import type { Opening, Prediction, Request, Response } from './engine';
import { isDetector, type PoseMetadata, readMetadata } from './metadata';
import { PoseNetwork } from './network';
import { Follower, lookTwice } from './predictor';
import type { OrtSession } from './session';

const RUNTIMES = {
  wasm: {
    load: () => import('onnxruntime-web/wasm'),
    wasmPaths: { mjs: wasmModule, wasm: wasmBinary },
  },
  webgpu: {
    load: () => import('onnxruntime-web/webgpu'),
    wasmPaths: { mjs: webgpuModule, wasm: webgpuBinary },
  },
};

let network: PoseNetwork;
let detector: PersonDetector | undefined;
let follower: Follower;
const canvas = new OffscreenCanvas(1, 1);

async function open(opening: Opening): Promise<PoseMetadata> {
  const { load, wasmPaths } = RUNTIMES[opening.backend];
  const ort = await load();
  // Relative to this file; ONNX Runtime would take them relative to the page.
  const absolute = (path: string): string => new URL(path, self.location.href).href;
  ort.env.wasm.wasmPaths = { mjs: absolute(wasmPaths.mjs), wasm: absolute(wasmPaths.wasm) };
  ort.env.wasm.numThreads = opening.threads;

  const create = async (bytes: Uint8Array, file: string): Promise<OrtSession> => {
    try {
      return await ort.InferenceSession.create(bytes, {
        executionProviders: [opening.backend],
        // Not that WebGPU leaves some nodes to the CPU.
        logSeverityLevel: 3,
      });
    } catch (error) {
      const reason = (error as Error).message;
      throw new Error(`ONNX Runtime cannot open ${file} by ${opening.backend}: ${reason}`);
    }
  };

  const [model, other] = [opening.model, opening.detector];
  const metadata = readMetadata(model.bytes, model.name);
  if (isDetector(metadata)) {
    throw new Error(`${model.name} finds boxes. Choose it as the person detector.`);
  }
  network = new PoseNetwork(await create(model.bytes, model.name), metadata, model.name);
  if (other) {
    const found = readMetadata(other.bytes, other.name);
    if (!isDetector(found)) {
      throw new Error(`${other.name} finds key points. Choose it as the network.`);
    }
    detector = new PersonDetector(await create(other.bytes, other.name), found, other.name);
  }
  // The first run is slow, and tells whether the network computes what its
  // metadata say.
  const blank = { data: new Uint8ClampedArray(4 * 64 * 64), width: 64, height: 64 };
  await network.predict(blank, [{ box: [0, 0, 64, 64], boxScore: 1 }]);
  await detector?.detect(blank);
  restart();
  return metadata;
}

/** Start with the next picture or video. */
function restart(): void {
  const predict: PoseNetwork['predict'] = (image, people) => network.predict(image, people);
  const found = detector;
  follower = new Follower(predict, found ? (image) => found.detect(image) : lookTwice(predict));
}

async function predict(frame: ImageBitmap, findEvery: number): Promise<Prediction> {
  const start = performance.now();
  if (canvas.width !== frame.width || canvas.height !== frame.height) {
    canvas.width = frame.width;
    canvas.height = frame.height;
  }
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
  if (!context) {
    throw new Error('The browser has no memory for a picture of this size. Make it smaller.');
  }
  context.drawImage(frame, 0, 0);
  const image = context.getImageData(0, 0, frame.width, frame.height);
  const before = network.milliseconds + (detector?.milliseconds ?? 0);
  const people = await follower.next(image, findEvery);
  const after = network.milliseconds + (detector?.milliseconds ?? 0);
  return { frame, people, milliseconds: performance.now() - start, networks: after - before };
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  const reply = (response: Response, transfer: Transferable[] = []): void =>
    self.postMessage(response, { transfer });
  try {
    if (data.kind === 'open') {
      reply({ value: await open(data.opening) });
    } else {
      if (data.isFirst) {
        restart();
      }
      const value = await predict(data.frame, data.findEvery);
      reply({ value }, [value.frame]);
    }
  } catch (error) {
    reply({ error: (error as Error).message });
  }
};
