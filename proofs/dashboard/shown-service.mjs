import { execFile, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const run = promisify(execFile);

const SERVICE = `
  const { existsSync } = require('node:fs');
  if (existsSync(process.env.BROKEN)) {
    console.error('connecting to the database');
    console.error('Error: no such table: invoices');
    process.exit(3);
  }
  require('node:http').createServer((request, response) => {
    if (request.url === '/stream') return response.write('begun');
    response.statusCode = request.url === '/error' ? 500 : 200;
    setTimeout(() => response.end('x'), 3 + Math.random() * 10);
  }).listen(process.env.PORT, '127.0.0.1');`;

/** A service under moult in a run folder of its own, with a dashboard or metrics. */
export class ShownService {
  port;
  broken;
  #env;
  #child;
  #ended;

  /** @returns when it serves, and what shows it does. */
  static async start(folder, port, dashboard, more = ['--probation', '1h', '--drain-timeout', '10m']) {
    const service = new ShownService();
    const script = path.join(folder, 'server.cjs');
    service.port = port;
    service.broken = path.join(folder, 'broken');
    await writeFile(script, SERVICE);
    const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
    service.#env = { ...env, XDG_RUNTIME_DIR: folder, PORT: String(port), BROKEN: service.broken };
    const shown = dashboard === undefined ? [] : ['--dashboard', `127.0.0.1:${dashboard}`];
    const options = ['--name', 'shop', ...shown, ...more];
    service.#child = spawn(process.execPath, [CLI, 'run', ...options, '--stop-timeout', '2s', script], {
      env: service.#env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    service.#ended = new Promise((resolve) => service.#child.once('exit', resolve));
    let said = '';
    await new Promise((resolve, reject) => {
      service.#child.stderr.on('data', (chunk) => {
        said += chunk;
        if (/generation 1 serves/.test(said) && / (is|are) served at /.test(said)) resolve();
      });
      service.#ended.then(() => reject(new Error(`it ended: ${said}`)));
    });
    return service;
  }

  get pid() {
    return this.#child.pid;
  }

  async moult(...args) {
    const { stdout } = await run(process.execPath, [CLI, ...args], { env: this.#env });
    return stdout;
  }

  /** A link that lets one browser in. */
  async link() {
    return (await this.moult('dashboard', '--link', 'shop')).trim();
  }

  async stop() {
    this.#child.kill('SIGTERM');
    // What drains for minutes is not waited for.
    const again = setTimeout(() => this.#child.kill('SIGTERM'), 1000);
    await this.#ended;
    clearTimeout(again);
  }
}
