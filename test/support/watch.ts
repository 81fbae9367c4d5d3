/*
 * Loaded before every test file by `npm test`, so that a run ends whatever happens in it. A file in which nothing begins
 * or ends for some minutes says what it waits for and fails; the processes that a file leaves end with it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, type TestContext } from 'node:test';

/** The longest test takes half a minute, on a machine that does nothing else. */
const STILL_MS = 240_000;
const MARK = 'MOULT_TEST_FILE';

const file = process.argv[1] ?? '';
// A process that a test forks is started as its parent was.
if (file.endsWith('.test.js') && process.env[MARK] === undefined) watch();

function watch(): void {
  const mark = `${process.pid}-${Date.now()}`;
  process.env[MARK] = mark;
  let last = 'none has begun';
  const timer = setTimeout(() => {
    const waitsFor = [...new Set(process.getActiveResourcesInfo())].join(', ');
    console.error(`${file}: nothing began or ended for ${STILL_MS / 1000} s; the last: ${last}`);
    console.error(`it waits for: ${waitsFor}\nits processes: ${processesWith(mark).map(told).join('')}`);
    process.exit(1);
  }, STILL_MS).unref();
  const moves = (what: string) => (test: TestContext | unknown) => {
    last = `${what} ${(test as TestContext).name}`;
    timer.refresh();
  };
  beforeEach(moves('began'));
  afterEach(moves('ended'));
  process.once('exit', () => {
    const left = processesWith(mark);
    if (left.length > 0) console.error(`${file} left: ${left.map(told).join('')}`);
    for (const { pid } of left) end(pid);
  });
}

interface Left {
  readonly pid: number;
  readonly command: string;
}

// Whatever became of their parents, they have the environment of this file.
function processesWith(mark: string): Left[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        if (!readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(`${MARK}=${mark}`))
          return [];
        const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ');
        return [{ pid: Number(name), command }];
      } catch {
        // It has ended, or is another user's.
        return [];
      }
    });
}

function told({ pid, command }: Left): string {
  return `\n  ${pid} ${command}`;
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
