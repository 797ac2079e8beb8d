import { readdirSync, readFileSync } from 'node:fs';
import { defaultClientConditions, defineConfig, type Plugin } from 'vite';
import { readMetadata } from './src/metadata.ts';

const WEIGHTS = new URL('../weights/', import.meta.url);

/** Puts the package's exported networks beside the page, with a list of them. */
function models(): Plugin {
  return {
    name: 'models',
    generateBundle() {
      const files = readdirSync(WEIGHTS).filter((file) => file.endsWith('.onnx'));
      // Reversed, LGM-Pose comes before LGM-Pose-Fast.
      const index = files
        .toSorted()
        .toReversed()
        .map((file) => {
          const source = readFileSync(new URL(file, WEIGHTS));
          this.emitFile({ type: 'asset', fileName: `models/${file}`, source });
          const { task = 'pose', precision = 'float32' } = readMetadata(source, file);
          return {
            name: file.slice(0, -'.onnx'.length),
            file,
            task,
            precision,
            bytes: source.length,
          };
        });
      this.emitFile({
        type: 'asset',
        fileName: 'models/index.json',
        source: JSON.stringify(index),
      });
    },
  };
}

export default defineConfig({
  base: './', // any folder of a server
  build: {
    outDir: '../lgm_pose_plugin/.web',
    emptyOutDir: true,
    target: 'es2023',
    assetsInlineLimit: 0,
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
  },
  plugins: [models()],
  // ONNX Runtime's threads need its module and binary as files.
  resolve: { conditions: ['onnxruntime-web-use-extern-wasm', ...defaultClientConditions] },
  worker: { format: 'es' },
});
