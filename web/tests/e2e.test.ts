/** The built page in headless Chromium, served by `lgm-pose web`. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type PoseMetadata, readMetadata } from '../src/metadata';
import type { Instance } from '../src/results';
import {
  CROP_PIXELS,
  CROP_SCORE,
  compare,
  difference,
  FIXTURES,
  PYTHON,
  pythonOptions,
  readFixtures,
} from './fixtures';

const PAGE = fileURLToPath(new URL('../../lgm_pose_plugin/.web', import.meta.url));
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const executablePath = findBrowser();
const isReady = executablePath !== undefined && existsSync(join(PAGE, 'index.html'));
if (!isReady) {
  console.warn(
    executablePath
      ? 'The page is not built (make web): no end-to-end tests.'
      : `There is none of ${NAMES.join(', ')} ($CHROMIUM names another): no end-to-end tests.`,
  );
}

const fixtures = readFixtures();
const model = fixtures.networks[0].file;
const metadata = readMetadata(readFileSync(model), model) as PoseMetadata;
// As vitest's.
const PATIENCE = 400_000;

interface VideoFrame {
  frame_id: number;
  instances: Instance[];
}

function findBrowser(): string | undefined {
  const { CHROMIUM } = process.env;
  for (const name of CHROMIUM ? [CHROMIUM] : NAMES) {
    try {
      return execFileSync('which', [name], { encoding: 'utf8' }).trim();
    } catch {
      // The next one.
    }
  }
  return undefined;
}

/** Start `lgm-pose web`; what it prints first is its address. */
async function serve(): Promise<{ address: string; process: ChildProcess }> {
  const models = [fixtures.detected.file, fixtures.networks[1].file];
  const server = spawn(
    PYTHON,
    ['-m', 'lgm_pose_plugin', 'web', '--port', '0', '--model', ...models],
    { ...pythonOptions, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  for await (const line of createInterface(server.stdout)) {
    return { address: line.split(' ')[0], process: server };
  }
  throw new Error('lgm-pose web did not start');
}

/** A server of files alone, as of any host of static pages. */
async function serveStatic(): Promise<Server> {
  const types: Record<string, string> = { html: 'text/html', css: 'text/css' };
  const server = createServer((request, response) => {
    const path = join(PAGE, request.url === '/' ? 'index.html' : (request.url ?? ''));
    if (!existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    const type = types[path.split('.').at(-1) ?? ''] ?? 'text/javascript';
    response.writeHead(200, { 'Content-Type': path.endsWith('.wasm') ? 'application/wasm' : type });
    response.end(readFileSync(path));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

describe.skipIf(!isReady)('the page', () => {
  let browser: Browser;
  let context: BrowserContext;
  let server: Awaited<ReturnType<typeof serve>>;
  let page: Page;
  const complaints: string[] = [];

  async function launch(...args: string[]): Promise<void> {
    browser = await chromium.launch({
      executablePath: executablePath ?? '',
      args,
      chromiumSandbox: false,
      timeout: PATIENCE,
    });
  }

  beforeAll(async () => {
    server = await serve();
    await launch(
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-video-capture=${join(FIXTURES, 'camera.y4m')}`,
    );
  });

  afterAll(async () => {
    await browser?.close();
    server?.process.kill();
  });

  /** Open the page, which may speak to its own server alone. */
  async function open(
    address: string,
    options: Parameters<Browser['newContext']>[0] = {},
  ): Promise<void> {
    await context?.close();
    context = await browser.newContext({ acceptDownloads: true, ...options });
    context.setDefaultTimeout(PATIENCE);
    page = await context.newPage();
    complaints.length = 0;
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(address) && !/^(blob|data):/.test(url)) {
        complaints.push(`request to ${url}`);
      }
      if (!['GET', 'HEAD'].includes(request.method())) {
        complaints.push(`${request.method()} to ${url}`);
      }
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') {
        complaints.push(message.text());
      }
    });
    await page.goto(address, { timeout: PATIENCE });
    await page.locator('#status').getByText('Ready: 17 key points').waitFor();
  }

  const status = (text: string | RegExp): Promise<void> =>
    page.locator('#status').getByText(text).waitFor();

  async function give(name: string): Promise<void> {
    await page.setInputFiles('#file', join(FIXTURES, name));
  }

  /** Download the key points. */
  async function results<T>(name: string): Promise<T> {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download JSON' }).click(),
    ]);
    expect(download.suggestedFilename()).toBe(name);
    return JSON.parse(readFileSync(await download.path(), 'utf8'));
  }

  /** What PoseRuntime finds in the boxes of the page's results. */
  function poseRuntime<T>(file: string, source: string, found: T): T {
    const script = fileURLToPath(new URL('pose_runtime.py', import.meta.url));
    const options = { ...pythonOptions, input: JSON.stringify(found), encoding: 'utf8' } as const;
    return JSON.parse(execFileSync(PYTHON, [script, file, join(FIXTURES, source)], options));
  }

  /** Find a rendered person, with the key points of PoseRuntime. */
  async function findAsPoseRuntime(): Promise<Instance[]> {
    await give('person-10.png');
    await status('1 person found, with 17 of 17 key points.');
    const found = await results<Instance[]>('person-10.json');
    const expected = poseRuntime(model, 'person-10.png', found);
    const { pixels, score } = compare(found, expected, metadata);
    expect(pixels).toBeLessThan(CROP_PIXELS);
    expect(score).toBeLessThan(CROP_SCORE);
    return found;
  }

  async function shot(name: string): Promise<void> {
    await page.screenshot({ path: join(FIXTURES, `${name}.png`), fullPage: true });
  }

  describe('of lgm-pose web', () => {
    beforeAll(async () => {
      await open(server.address);
      await page.getByLabel('Network').selectOption({ index: 1 });
      await page.getByText('pixels, float32, 4.4 MB').waitFor();
    });
    beforeEach(({ onTestFailed }) => onTestFailed(() => shot('failed')));

    test('uses threads, and offers the files of --model', async () => {
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
      expect(await page.locator('#threads').isEnabled()).toBe(true);
      expect(await page.locator('#model option').allTextContents()).toEqual([
        'lgm-pose_body17-256x192-int8',
        'lgm-pose_body17-256x192',
        'lgm-pose-fast_body17-256x192',
      ]);
      expect(await page.locator('#detector option').allTextContents()).toEqual([
        'None: one person',
        'detector',
      ]);
    });

    test('finds the key points of a picture as PoseRuntime does', async () => {
      const found = await findAsPoseRuntime();
      const [{ bbox }] = fixtures.pictures[0].instances;
      expect(difference(found[0].bbox[0], bbox[0])).toBeLessThan(0.1);
      expect(await page.locator('#view').getAttribute('aria-label')).toContain(
        'person-10.png: 1 p',
      );
      await shot('picture');
    });

    test('shows a picture again with another network', async () => {
      await page.getByLabel('Network').selectOption({ index: 0 });
      await page.getByText('17 key points, crops of 192 x 256 pixels, int8, 1.5 MB').waitFor();
      await status('1 person found');
      const found = await results<Instance[]>('person-10.json');
      const int8 = fixtures.networks[1].file;
      const { pixels } = compare(found, poseRuntime(int8, 'person-10.png', found), metadata);
      expect(pixels).toBeLessThan(3);
      await page.getByLabel('Network').selectOption({ index: 1 });
      await status('1 person found, with 17 of 17 key points.');
    });

    test('finds a person in every frame of a video', async () => {
      await page.getByLabel('Look for people every').fill('1');
      await give('pan.mp4');
      await status('pan.mp4 is done: 12 frames.');
      const frames = await results<VideoFrame[]>('pan.json');
      const expected = poseRuntime(model, 'pan.mp4', frames);
      expect(frames.map(({ frame_id }) => frame_id)).toEqual(fixtures.video.map((_, i) => i));
      // Browsers and OpenCV decode the colours of H.264 otherwise.
      for (const [i, { instances }] of frames.entries()) {
        expect(compare(instances, expected[i].instances, metadata).median).toBeLessThan(1.5);
      }
    });

    test('finds a person before the camera', async () => {
      await page.getByLabel('Look for people every').fill('1');
      await page.getByRole('button', { name: 'Use the camera' }).click();
      await page.waitForFunction(() => Number(document.getElementById('frames')?.textContent) > 2);
      await shot('camera');
      await page.getByRole('button', { name: 'Pause' }).click();
      await page.getByRole('button', { name: 'Go on' }).click();
      await page.getByRole('button', { name: 'Stop' }).click();
      await status('Stopped.');
      const frames = await results<VideoFrame[]>('camera.json');
      expect(frames.length).toBeGreaterThan(2);
      for (const { instances } of frames) {
        // Which frame it was, the camera does not tell.
        const far = fixtures.video.map((one) => compare(instances, one, metadata).median);
        expect(Math.min(...far)).toBeLessThan(3);
      }
    });

    test('finds people by a detector', async () => {
      // There is nobody in the second box.
      await page.getByLabel('Draw key points that score above').fill('0');
      await page.getByLabel('Person detector').selectOption({ index: 1 });
      await status('Ready: 17 key points');
      await give('person-10.png');
      await status(/^2 people found/);
      const found = await results<Instance[]>('person-10.json');
      const expected = fixtures.pictures[0].detected;
      expect(compare(found, expected, metadata).pixels).toBeLessThan(CROP_PIXELS);
      expect(
        difference(
          found.map(({ bbox_score }) => bbox_score),
          expected.map(({ bbox_score }) => bbox_score),
        ),
      ).toBeLessThan(1e-6);
      await page.getByLabel('Person detector').selectOption({ index: 0 });
      await status('1 person found, with 17 of 17 key points.');
    });

    test('takes an exported file of the user, and refuses others', async () => {
      await page.setInputFiles('#added', fixtures.detected.file);
      await status(/^2 people found/);
      expect(await page.locator('#detector option').allTextContents()).toContain('detector.onnx');
      await page.setInputFiles('#added', {
        name: 'broken.onnx',
        mimeType: '',
        buffer: readFileSync(model).subarray(0, 5000),
      });
      const alert = page.getByRole('alert');
      await alert.getByText('broken.onnx is not an ONNX file, or truncated').waitFor();
      await page.setInputFiles('#file', {
        name: 'notes.txt',
        mimeType: 'text/plain',
        buffer: Buffer.from('no picture'),
      });
      await alert.getByText('reads notes.txt neither as a picture nor as a video').waitFor();
    });

    test('asks no other host for anything', () => {
      expect(complaints).toEqual([]);
    });
  });

  describe.each([
    ['desktop', 1280, 800, 'light'],
    ['desktop', 1280, 800, 'dark'],
    ['phone', 360, 740, 'light'],
    ['phone', 360, 740, 'dark'],
  ] as const)('on a %s, %i x %i, %s', (name, width, height, colorScheme) => {
    test('is accessible and fits', async () => {
      await open(server.address, { viewport: { width, height }, colorScheme });
      await give('person-2.png');
      await status(/^1 person found/);
      await shot(`${name}-${colorScheme}`);
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - window.innerWidth,
      );
      expect(overflow).toBeLessThanOrEqual(0);
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() =>
        (window as unknown as { axe: typeof axe }).axe.run(),
      );
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`)).toEqual([]);
    });
  });

  test('is used by keyboard alone', async () => {
    await open(server.address);
    const reached: string[] = [];
    for (let i = 0; i < 14; i++) {
      await page.keyboard.press('Tab');
      reached.push(await page.evaluate(() => document.activeElement?.id ?? ''));
    }
    for (const id of ['choose', 'camera', 'model', 'detector', 'add', 'backend', 'threads']) {
      expect(reached).toContain(id);
    }
    const [chooser] = await Promise.all([
      page.waitForEvent('filechooser'),
      // It moves the focus first. A key alone would race with the request that
      // Chromium reports file choosers, for which Playwright does not wait.
      page.locator('#choose').press('Enter'),
    ]);
    await chooser.setFiles(join(FIXTURES, 'person-10.png'));
    await status(/^1 person found/);
  });

  test('runs in one thread on a server of files alone, and says so', async () => {
    const files = await serveStatic();
    try {
      await open(`http://127.0.0.1:${(files.address() as AddressInfo).port}/`);
      expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
      expect(await page.locator('#threads').isDisabled()).toBe(true);
      await page.getByText('One thread: browsers give more').waitFor();
      await give('person-10.png');
      await status('1 person found, with 17 of 17 key points.');
      expect(complaints).toEqual([]);
    } finally {
      files.close();
    }
  });

  // The last one, as it has a browser of its own: Chromium's GPU in software.
  test('computes by WebGPU what PoseRuntime does', async ({ skip }) => {
    await browser.close();
    await launch('--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader');
    await open(server.address);
    const webgpu = page.locator('#backend option[value=webgpu]');
    if (await webgpu.isDisabled()) {
      skip('This browser has no WebGPU in software.');
    }
    await page.getByLabel('Network').selectOption({ index: 1 });
    await page.getByText('pixels, float32, 4.4 MB').waitFor();
    await page.getByLabel('Runs on').selectOption('webgpu');
    await findAsPoseRuntime();
    expect(complaints).toEqual([]);
  });
});
