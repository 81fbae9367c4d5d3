import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Later } from './tidy.js';

/** An empty folder of the test's own, removed after it. */
export function temporaryFolder(later: Later): string {
  const folder = mkdtempSync(join(tmpdir(), 'moult-test-'));
  later(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
