/** Has Python make what the tests compare with. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { FIXTURES, PYTHON, pythonOptions } from './fixtures';

export function setup(): void {
  const script = fileURLToPath(new URL('fixtures.py', import.meta.url));
  execFileSync(PYTHON, ['-W', 'ignore', script, FIXTURES], { ...pythonOptions, stdio: 'inherit' });
}
