import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    globalSetup: 'tests/setup.ts',
    include: ['tests/*.test.ts'],
    fileParallelism: false,
    // On a machine with much else to do a frame takes ten seconds.
    testTimeout: 400_000,
    hookTimeout: 400_000,
  },
});
