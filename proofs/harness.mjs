// What the proofs share. They start services by `dist/verify`, as `moult verify` does; this builds it, and judges and prints.
import { execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
export const fixtures = path.join(root, 'test/fixtures');

/** Builds moult. @param withTests also compiles what the integration tests use. */
export function build({ withTests = false } = {}) {
  const tests = [['node_modules/typescript/bin/tsc', '-p', 'test']];
  for (const args of [['scripts/build.mjs'], ...(withTests ? tests : [])])
    execFileSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] });
}

/** The strict mixed load of `moult verify`. @param more options that differ. */
export function strictLoad(thinkMs, more = {}) {
  return {
    check: 'echo',
    thinkMs,
    // On a busy machine a connection may wait long to be accepted; it is lost only when it is ended.
    requestTimeoutMs: 60_000,
    connectTimeoutMs: 60_000,
    rampMs: 1_500,
    ...more,
  };
}

/** What of a load's report must not be, by a name for the part of the proof. */
export function problemsOf(part, { total, failures }) {
  return ['failed', 'lost', 'duplicated']
    .filter((what) => total[what] > 0)
    .map((what) => `${part}: ${total[what]} ${what}: ${JSON.stringify(failures.slice(0, 10))}`);
}

/** A load's report in a line. */
export function counted({ total }) {
  return `${total.requests} requests, ${total.answered} answered, ${total.failed} failed, ${total.lost} lost, ${total.duplicated} twice`;
}

/** How often each name is there, the most frequent first. */
export function counts(names) {
  const all = new Map();
  for (const name of names) all.set(name, (all.get(name) ?? 0) + 1);
  return [...all.values()].sort((a, b) => b - a);
}

/** Prints the problems and the verdict. @returns the exit status, which it also sets. */
export function verdict(problems) {
  for (const problem of problems) say(`    ${problem}`);
  say(problems.length === 0 ? 'all as promised' : `${problems.length} not as promised`);
  process.exitCode = problems.length === 0 ? 0 : 1;
  return process.exitCode;
}

/**
 * A table that is printed row by row.
 * @param columns heading, width and content of each; a negative width sets it to the left.
 */
export function tableOf(columns) {
  const row = (cells) => {
    const padded = cells.map((cell, i) => {
      const width = columns[i][1];
      const text = String(cell ?? '?');
      return width < 0 ? text.padEnd(-width) : text.padStart(width);
    });
    say(`| ${padded.join(' | ')} |`);
  };
  return {
    head() {
      row(columns.map(([head]) => head));
      row(columns.map(([, width]) => '-'.repeat(Math.abs(width))));
    },
    row: (values) => row(columns.map(([, , cell]) => cell(values))),
  };
}

/**
 * Runs one combination of a proof in a process of that Node: `--one` and the combination as JSON make it print its result.
 * Supervisor, service and clients then all run on that Node.
 * @param url of the proof.
 * @param signal ends it.
 */
export function inProcessOf(node, url, combination, signal) {
  return new Promise((resolve) => {
    const child = spawn(node, [fileURLToPath(url), '--one', JSON.stringify(combination)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    signal?.addEventListener('abort', () => child.kill('SIGTERM'));
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    child.once('close', (code, killed) => {
      try {
        resolve(JSON.parse(text));
      } catch {
        resolve({ problems: [`it ended without a result (${killed ?? code})`] });
      }
    });
  });
}

/** Waits until a condition holds. @param said an output that is shown where it never does. @returns its value. */
export async function until(what, condition, { said, boundMs = 120_000 } = {}) {
  for (const giveUpAtMs = performance.now() + boundMs; ; await pause(50)) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > giveUpAtMs)
      throw new Error(
        `waited ${boundMs} ms until ${what}${said === undefined ? '' : `: ${said.text.slice(-2000)}`}`,
      );
  }
}

export function say(text) {
  process.stdout.write(`${text}\n`);
}
