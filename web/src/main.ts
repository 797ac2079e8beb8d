/** The page: what is chosen, what runs, what is shown. */
import { drawFrame } from './drawing';
import { type Backend, Engine, type ModelFile, type Prediction } from './engine';
import { isDetector, type Metadata, readMetadata } from './metadata';
import type { Person } from './network';
import { describe, resultName, toJson } from './results';
import { openCamera, openFile, type Source } from './sources';

/** A network that can be chosen; `get` loads it once. */
interface Choice {
  name: string;
  get: () => Promise<Uint8Array>;
}

/** What models/index.json says of a file. */
interface Listed {
  name: string;
  file: string;
  task: 'pose' | 'detection';
}

// The last frames' times are shown.
const WINDOW = 30;
// Milliseconds between two texts for screen readers while a video runs.
const QUIET_TIME = 3000;

function byId<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) {
    throw new Error(`The page has no element ${id}.`);
  }
  return element as T;
}

const canvas = byId<HTMLCanvasElement>('view');
const drop = byId('drop');
const model = byId<HTMLSelectElement>('model');
const detector = byId<HTMLSelectElement>('detector');
const backend = byId<HTMLSelectElement>('backend');
const threads = byId<HTMLInputElement>('threads');
const findEvery = byId<HTMLInputElement>('find-every');
const threshold = byId<HTMLInputElement>('threshold');
const boxes = byId<HTMLInputElement>('boxes');
const device = byId<HTMLSelectElement>('device');
const progress = byId<HTMLProgressElement>('progress');
const pause = byId<HTMLButtonElement>('pause');
const stop = byId<HTMLButtonElement>('stop');
const download = byId<HTMLButtonElement>('download');
const file = byId<HTMLInputElement>('file');
const added = byId<HTMLInputElement>('added');

const choices = new Map<string, Choice>();
let engine: { key: string; promise: Promise<Engine> } | undefined;

/** What is shown: a source that runs, or has run. */
class Run {
  isStopped = false;
  source: Source | undefined;
  /** Who is in each frame so far. */
  people: Person[][] = [];
  last: Prediction | undefined;
  metadata: Engine['metadata'] | undefined;
  private resume: (() => void) | undefined;
  private waiting: Promise<void> | undefined;

  constructor(readonly open: () => Promise<Source>) {}

  get isPaused(): boolean {
    return this.waiting !== undefined;
  }

  toggle(): void {
    if (this.resume) {
      this.resume();
      this.resume = this.waiting = undefined;
    } else {
      this.waiting = new Promise((resolve) => {
        this.resume = resolve;
      });
    }
  }

  stop(): void {
    this.isStopped = true;
    this.resume?.();
  }

  /** Wait until it is not paused. */
  async turn(): Promise<void> {
    await this.waiting;
  }
}

let run: Run | undefined;
// Of the last frames.
const times: { milliseconds: number; networks: number }[] = [];

function say(text: string): void {
  byId('status').textContent = text;
  byId('error').hidden = true;
}

function complain(error: unknown): void {
  const element = byId('error');
  element.textContent = (error as Error).message;
  element.hidden = false;
  byId('status').textContent = '';
}

/** Start a worker for what is chosen, unless it runs already. */
async function openEngine(): Promise<Engine> {
  const key = [model, detector, backend, threads].map(({ value }) => value).join('\n');
  if (engine?.key === key) {
    return engine.promise;
  }
  engine?.promise.then((old) => old.close()).catch(() => undefined);
  const load = async (choice: Choice | undefined): Promise<ModelFile | undefined> =>
    choice && { name: choice.name, bytes: await choice.get() };
  const start = async (): Promise<Engine> => {
    const chosen = await load(choices.get(model.value));
    if (!chosen) {
      throw new Error('There is no network. Add an exported file.');
    }
    say(`Opening ${chosen.name}.`);
    const opened = await Engine.open({
      model: chosen,
      detector: await load(choices.get(detector.value)),
      backend: backend.value as Backend,
      threads: Number(threads.value),
    });
    const { input_size, keypoint_names, precision = 'float32' } = opened.metadata;
    byId('model-help').textContent =
      `${keypoint_names.length} key points, crops of ${input_size.join(' x ')} pixels, ` +
      `${precision}, ${(chosen.bytes.length / 1e6).toFixed(1)} MB`;
    return opened;
  };
  engine = { key, promise: start() };
  return engine.promise;
}

/** Show a source from its start, in place of what is shown. */
async function show(open: () => Promise<Source>): Promise<void> {
  run?.stop();
  const mine = new Run(open);
  run = mine;
  clearFigures();
  updateButtons();
  try {
    const opened = await openEngine();
    if (mine.isStopped) {
      return;
    }
    mine.metadata = opened.metadata;
    mine.source = await open();
    if (!mine.isStopped) {
      await play(mine, mine.source, opened);
    }
  } catch (error) {
    // A run that was stopped fails because its worker is closed.
    if (!mine.isStopped) {
      mine.isStopped = true;
      complain(error);
    }
  } finally {
    mine.isStopped = true;
    updateButtons();
  }
}

async function play(mine: Run, source: Source, opened: Engine): Promise<void> {
  const isVideo = source.kind !== 'picture';
  const what = source.kind === 'camera' ? 'the camera' : source.name;
  const ends: number[] = [];
  let spoken = 0;
  say(`Finding people in ${what}.`);
  updateButtons();
  if (source.kind === 'camera') {
    await listCameras();
  }
  for await (const { image, seconds } of source.frames) {
    if (mine.isStopped) {
      image.close();
      break;
    }
    mine.last?.frame.close();
    mine.last = undefined;
    const isFirst = mine.people.length === 0;
    mine.last = await opened.predict(image, isFirst, isVideo ? whole(findEvery) : 1);
    if (mine.isStopped) {
      break;
    }
    mine.people.push(mine.last.people);
    draw();
    ends.push(performance.now());
    showFigures(mine, ends);
    progress.hidden = source.duration === undefined;
    progress.value = seconds / (source.duration || 1);
    if (isVideo && ends[ends.length - 1] - spoken > QUIET_TIME) {
      spoken = ends[ends.length - 1];
      tell(mine);
    }
    if (isFirst) {
      updateButtons();
    }
    await mine.turn();
  }
  progress.hidden = true;
  if (mine.people.length === 0) {
    throw new Error(`${source.name} has no frames.`);
  }
  if (!mine.isStopped) {
    tell(mine);
    const count = mine.people.length;
    const found = describe(mine.people[count - 1], Number(threshold.value));
    say(isVideo ? `${source.name} is done: ${count} frames.` : found);
  }
}

/** The value of a number field, at least 1. */
function whole(field: HTMLInputElement): number {
  return Math.max(1, Math.floor(Number(field.value)) || 1);
}

function draw(): void {
  if (run?.last && run.metadata) {
    canvas.hidden = false;
    byId('hint').hidden = true;
    drop.classList.add('full');
    drawFrame(canvas, run.last.frame, run.last.people, run.metadata, {
      threshold: Number(threshold.value),
      boxes: boxes.checked,
    });
  }
}

/** Tell screen readers who is in the frame, without a word by itself. */
function tell({ people, source }: Run): void {
  const text = describe(people[people.length - 1], Number(threshold.value));
  canvas.setAttribute('aria-label', `${source?.name}: ${text}`);
}

function clearFigures(): void {
  times.length = 0;
  progress.hidden = true;
  for (const id of ['frame-time', 'network-time', 'fps', 'frames']) {
    byId(id).textContent = '–';
  }
}

function showFigures({ people, last }: Run, ends: number[]): void {
  if (!last) {
    return;
  }
  times.push({ milliseconds: last.milliseconds, networks: last.networks });
  times.splice(0, times.length - WINDOW);
  ends.splice(0, ends.length - WINDOW - 1);
  const mean = (values: number[]): string =>
    (values.reduce((total, value) => total + value, 0) / values.length).toFixed(1);
  byId('frame-time').textContent = mean(times.map(({ milliseconds }) => milliseconds));
  byId('network-time').textContent = mean(times.map(({ networks }) => networks));
  const span = ends[ends.length - 1] - ends[0];
  byId('fps').textContent = span > 0 ? ((1000 * (ends.length - 1)) / span).toFixed(1) : '–';
  byId('frames').textContent = `${people.length}`;
}

function updateButtons(): void {
  const isRunning = run !== undefined && !run.isStopped;
  pause.disabled = !isRunning || run?.source?.kind === 'picture';
  pause.textContent = run?.isPaused ? 'Go on' : 'Pause';
  stop.disabled = !isRunning;
  download.disabled = !run?.people.length;
}

/** Offer the cameras, whose names are known once one may be used. */
async function listCameras(): Promise<void> {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const found = devices.filter(({ kind, deviceId }) => kind === 'videoinput' && deviceId);
  const chosen = device.value;
  const options = found.map(({ label, deviceId }) => new Option(label || 'Camera', deviceId));
  device.replaceChildren(new Option('As the browser chooses', ''), ...options);
  device.value = chosen;
  byId('cameras').hidden = found.length < 2;
}

function save(): void {
  if (!run?.source) {
    return;
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(toJson(run.people, run.source.kind !== 'picture'));
  link.download = resultName(run.source.name);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Add a network or detector to what can be chosen. */
function offer(choice: Choice, id: string, metadata: Pick<Metadata, 'task'>): HTMLSelectElement {
  const list = metadata.task === 'detection' ? detector : model;
  if (!choices.has(id)) {
    list.add(new Option(choice.name, id));
  }
  choices.set(id, choice);
  return list;
}

/** Take files that were dropped or chosen: exported files, or a source. */
async function take(files: Iterable<File>): Promise<void> {
  for (const one of files) {
    if (!one.name.toLowerCase().endsWith('.onnx')) {
      await show(() => openFile(one));
      return;
    }
    try {
      const bytes = new Uint8Array(await one.arrayBuffer());
      const metadata = readMetadata(bytes, one.name);
      const choice = { name: one.name, get: async () => bytes };
      // Another file may have the same name.
      const id = `${one.name} ${one.size} ${one.lastModified}`;
      offer(choice, id, metadata).value = id;
      say(`${one.name} is the ${isDetector(metadata) ? 'person detector' : 'network'} now.`);
    } catch (error) {
      complain(error);
      return;
    }
  }
  await reopen();
}

/** What is chosen has changed: show the same source with it. */
async function reopen(): Promise<void> {
  const isEmpty = run === undefined || (run.isStopped && run.source?.kind === 'camera');
  if (run && !isEmpty) {
    await show(run.open);
    return;
  }
  try {
    const { metadata } = await openEngine();
    say(`Ready: ${metadata.keypoint_names.length} key points of a person.`);
  } catch (error) {
    complain(error);
  }
}

async function listModels(): Promise<void> {
  const index = await fetch('models/index.json');
  const listed: Listed[] = index.ok ? await index.json() : [];
  for (const { name, file: path, task } of listed) {
    let loaded: Promise<Uint8Array> | undefined;
    const load = async (): Promise<Uint8Array> => {
      const response = await fetch(`models/${encodeURIComponent(path)}`);
      if (!response.ok) {
        throw new Error(`${path} cannot be loaded (${response.status}).`);
      }
      return new Uint8Array(await response.arrayBuffer());
    };
    const get = (): Promise<Uint8Array> => {
      loaded ??= load();
      return loaded;
    };
    offer({ name, get }, path, { task } as Metadata);
  }
}

async function setUp(): Promise<void> {
  const cores = navigator.hardwareConcurrency || 1;
  threads.max = `${cores}`;
  if (crossOriginIsolated) {
    // ONNX Runtime's own choice: two logical cores are often one.
    threads.value = `${Math.min(4, Math.ceil(cores / 2))}`;
    byId('threads-help').textContent = `This machine runs up to ${cores}. More can be slower.`;
  } else {
    threads.disabled = true;
    byId('threads-help').textContent =
      'One thread: browsers give more to pages alone that are isolated by COOP and COEP headers, ' +
      'over https:// or on this machine. lgm-pose web sends them.';
  }
  const { gpu } = navigator as { gpu?: { requestAdapter: () => Promise<unknown> } };
  const adapter = await gpu?.requestAdapter().catch(() => null);
  const option = backend.options[1];
  option.disabled = !adapter;
  option.textContent += adapter ? '' : ': not in this browser';
  await listModels();
  await reopen();
}

for (const select of [model, detector, backend, threads]) {
  select.addEventListener('change', () => {
    threads.value = `${Math.min(whole(threads), Number(threads.max))}`;
    void reopen();
  });
}
threshold.addEventListener('input', () => {
  byId('threshold-value').textContent = threshold.value;
  draw();
});
boxes.addEventListener('change', draw);
device.addEventListener('change', () => show(() => openCamera(device.value)));
byId('settings').addEventListener('submit', (event) => event.preventDefault());
byId('choose').addEventListener('click', () => file.click());
byId('add').addEventListener('click', () => added.click());
byId('camera').addEventListener('click', () => show(() => openCamera(device.value)));
for (const input of [file, added]) {
  input.addEventListener('change', async () => {
    const files = [...(input.files ?? [])];
    input.value = ''; // the same file can be chosen again
    await take(files);
  });
}
pause.addEventListener('click', () => {
  run?.toggle();
  updateButtons();
});
stop.addEventListener('click', () => {
  run?.stop();
  say('Stopped.');
  updateButtons();
});
download.addEventListener('click', save);
// The whole page takes what is dropped, lest the browser opens it.
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  drop.classList.add('over');
});
document.addEventListener('dragleave', (event) => {
  if (!event.relatedTarget) {
    drop.classList.remove('over');
  }
});
document.addEventListener('drop', (event) => {
  event.preventDefault();
  drop.classList.remove('over');
  void take(event.dataTransfer?.files ?? []);
});

setUp().catch(complain);
