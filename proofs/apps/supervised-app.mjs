// One application under `moult run`, in a run folder of its own, as its operator would use it.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { leftProcesses } from './outside.mjs';

const MOULT = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const NAME = 'app';
const START_MS = 60_000;

export class SupervisedApp {
  #env;
  #node;
  #process;
  #runFolder = mkdtempSync(path.join(os.tmpdir(), 'moult-apps-'));
  output = '';

  /** @param node the Node that runs moult and the application. @param command script and arguments. */
  constructor(node, command, options, env, cwd) {
    this.#node = node;
    this.#env = { ...process.env, ...env, XDG_RUNTIME_DIR: this.#runFolder };
    delete this.#env.CI;
    this.#process = spawn(node, [MOULT, 'run', '--name', NAME, ...options, '--', ...command], {
      cwd,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    // Where this script itself breaks off, nothing stays behind.
    process.on('exit', () => this.#process.kill('SIGTERM'));
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        this.output = (this.output + text).slice(-20_000);
      });
  }

  /** Waits until it serves. */
  async serving() {
    const untilMs = performance.now() + START_MS;
    while (performance.now() < untilMs) {
      if (this.#process.exitCode !== null) throw new Error(`moult run ended: ${this.output.slice(-1500)}`);
      const now = await this.status();
      if (now?.state === 'serving') return now;
      await pause(100);
    }
    throw new Error(`not serving within ${START_MS} ms: ${this.output.slice(-1500)}`);
  }

  async status() {
    const { code, stdout } = await this.moult('status', NAME, '--json');
    return code === 0 ? JSON.parse(stdout) : undefined;
  }

  /** Replaces it. @returns the exit code and the result that the command printed. */
  async restart(...options) {
    const { code, stdout, stderr } = await this.moult('restart', NAME, '--json', ...options);
    const last = stdout.trimEnd().split('\n').at(-1);
    try {
      return { code, result: JSON.parse(last) };
    } catch {
      return { code, result: { error: { message: stderr } } };
    }
  }

  rollback() {
    return this.moult('rollback', NAME);
  }

  /** @returns the processes of it that were left, and were ended then. */
  async stop() {
    await this.moult('stop', NAME);
    if (this.#process.exitCode === null) {
      const ended = once(this.#process, 'exit');
      const limit = setTimeout(() => this.#process.kill('SIGKILL'), 30_000);
      this.#process.kill('SIGTERM');
      await ended;
      clearTimeout(limit);
    }
    const left = await leftProcesses('XDG_RUNTIME_DIR', this.#runFolder);
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    rmSync(this.#runFolder, { recursive: true, force: true });
    return left;
  }

  moult(...args) {
    return new Promise((resolve) => {
      execFile(this.#node, [MOULT, ...args], { env: this.#env, timeout: 120_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (error.code ?? 1), stdout, stderr }),
      );
    });
  }
}
