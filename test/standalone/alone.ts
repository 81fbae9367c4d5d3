import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until } from '../support/events.js';
import { freePort } from '../support/free-ports.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import type { Later } from '../support/tidy.js';

const SERVICE = fileURLToPath(new URL('../../../test/fixtures/services/alone.mjs', import.meta.url));

/** What one generation said. */
export interface Said {
  readonly pid: number;
  readonly generation: number;
  readonly event: string;
  readonly [fact: string]: unknown;
}

/** How a service of these tests begins. */
export interface AloneOptions {
  readonly options?: Record<string, unknown>;
  readonly node?: string;
  readonly log?: boolean;
  /** The port, where it was taken before. */
  readonly port?: number;
  /** Where it answers datagrams, too. */
  readonly udpPort?: number;
}

/** A service without a supervisor, in all its generations. */
export class Alone {
  readonly port: number;
  readonly folder: string;
  readonly said: Said[] = [];
  readonly first: ChildProcess;
  readonly env: Record<string, string>;
  readonly #node: string;
  output = '';

  static async start(
    later: Later,
    { options = {}, node, log, port, udpPort }: AloneOptions = {},
  ): Promise<Alone> {
    const folder = temporaryFolder(later);
    const service = new Alone(folder, port ?? (await freePort()), options, log === true, udpPort, node);
    later(() => service.#endAll());
    await service.until('serve', 1);
    return service;
  }

  private constructor(
    folder: string,
    port: number,
    options: Record<string, unknown>,
    log: boolean,
    udpPort: number | undefined,
    node = process.execPath,
  ) {
    this.folder = folder;
    this.port = port;
    this.env = {
      PORT: String(port),
      PID_FILE: join(folder, 'pid'),
      BEHAVIOUR: join(folder, 'behaviour'),
      XDG_RUNTIME_DIR: folder,
      OPTIONS: JSON.stringify({ probationMs: 300, drainTimeoutMs: 3000, ...options }),
      ...(udpPort === undefined ? {} : { UDP_PORT: String(udpPort) }),
      ...(log ? { LOG: join(folder, 'log') } : {}),
    };
    this.behave('good');
    this.#node = node;
    this.first = this.stranger();
  }

  /** Starts one more process of the service, as somebody would who knows nothing of the others. */
  stranger(options: Record<string, unknown> = {}): ChildProcess {
    const env: Record<string, string | undefined> = { ...process.env, NODE_OPTIONS: '', ...this.env };
    env.OPTIONS = JSON.stringify({ ...JSON.parse(this.env.OPTIONS ?? '{}'), ...options });
    delete env.NODE_TEST_CONTEXT;
    const started = spawn(this.#node, [SERVICE], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const { stdout, stderr } = started;
    createInterface({ input: stdout }).on('line', (line) => this.said.push(JSON.parse(line) as Said));
    stderr.on('data', (chunk: Buffer) => {
      this.output += chunk.toString();
    });
    return started;
  }

  /** How the next generation is to behave. */
  behave(how: string): void {
    writeFileSync(join(this.folder, 'behaviour'), how);
  }

  /** The process that the PID file names. */
  pid(): number {
    return Number(readFileSync(join(this.folder, 'pid'), 'utf8'));
  }

  /** Sends the process of the PID file a signal. */
  signal(name: NodeJS.Signals): void {
    process.kill(this.pid(), name);
  }

  /** Waits until a generation has said this, so many times. */
  async until(event: string, generation: number, times = 1): Promise<Said> {
    const all = () => this.said.filter((one) => one.event === event && one.generation === generation);
    await until(() => all().length >= times, `${event} of generation ${generation}\n${this.output}`, 20_000);
    return all()[times - 1] as Said;
  }

  /** Asks it over a connection of its own. */
  ask(path: string): Promise<{ status: number | undefined; body: Record<string, unknown> }> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.port, path, agent: false };
      const request = http.get(options, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) }));
        response.on('error', reject);
      });
      request.on('error', reject);
    });
  }

  /** The processes of this service that live, or have ended and were not collected. */
  processes(): { pid: number; state: string }[] {
    return processesWith(`XDG_RUNTIME_DIR=${this.folder}`, new Set(this.said.map(({ pid }) => pid)));
  }

  async #endAll(): Promise<void> {
    const living = () => this.processes().filter(({ state }) => state !== 'Z');
    for (const { pid } of living()) process.kill(pid, 'SIGKILL');
    await until(() => living().length === 0, 'the end of every generation');
  }
}

// Those that have said something, and those that were started with the variable and have said nothing yet.
function processesWith(variable: string, known: ReadonlySet<number>): { pid: number; state: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
        const isOurs = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0').includes(variable);
        // Of one that has ended neither environment nor, in every version of Node, its name can be told.
        const isZombie = state === 'Z' && known.has(Number(name));
        return isOurs || isZombie ? [{ pid: Number(name), state }] : [];
      } catch {
        return [];
      }
    });
}
