import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Target } from '#moult/verify/client/target.js';
import type { Load, LoadOptions, LoadReport } from '#moult/verify/load.js';
import { cli, fixture, runNode, until } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import type { Lab } from './lab.js';

/** What a unit is made from. */
export interface UnitOptions {
  readonly name: string;
  /** What `moult systemd` is to be given before the name. */
  readonly systemdOptions?: readonly string[];
  /** What `moult run` is to be given. */
  readonly runOptions?: readonly string[];
  readonly script?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** More lines for `[Service]`. */
  readonly service?: readonly string[];
}

/** A unit of the lab, as `moult systemd` wrote it. */
export class Unit {
  readonly name: string;
  readonly port: number;
  readonly #lab: Lab;

  private constructor(lab: Lab, name: string, port: number) {
    this.#lab = lab;
    this.name = name;
    this.port = port;
  }

  /** Writes the unit files and has systemd read them. */
  static async install(lab: Lab, options: UnitOptions): Promise<Unit> {
    const { name, systemdOptions = [], runOptions = [], script = fixture('http.cjs'), env = {} } = options;
    const unit = new Unit(lab, name, await freePort());
    const systemd = ['--into', lab.units, ...systemdOptions.map((word) => unit.#filled(word))];
    const { code, stderr } = await runNode(
      [cli, 'systemd', ...systemd, '--', '--name', name, ...runOptions, script],
      { ...process.env, PWD: lab.shared, NODE_OPTIONS: '' },
      process.execPath,
      lab.shared,
    );
    assert.equal(code, 0, stderr);
    const variables = Object.entries({ PORT: String(unit.port), ...env });
    const folder = path.join(lab.units, `${name}.service.d`);
    mkdirSync(folder);
    writeFileSync(
      path.join(folder, 'lab.conf'),
      [
        '[Service]',
        ...variables.map(([key, value]) => `Environment="${key}=${value}"`),
        `StandardOutput=append:${unit.#logFile}`,
        `StandardError=append:${unit.#logFile}`,
        ...(options.service ?? []),
        '',
      ].join('\n'),
    );
    await lab.systemctl('daemon-reload');
    return unit;
  }

  get service(): string {
    return `${this.name}.service`;
  }

  get #logFile(): string {
    return path.join(this.#lab.shared, `${this.name}.log`);
  }

  /** What supervisor and service wrote. */
  log(): string {
    try {
      return readFileSync(this.#logFile, 'utf8');
    } catch {
      return '';
    }
  }

  async start(): Promise<void> {
    await this.systemctl('start');
  }

  /** `systemctl` with this verb; fails unless it succeeds. */
  async systemctl(verb: string): Promise<string> {
    const { code, output } = await this.#lab.run('systemctl', verb, this.service);
    if (code !== 0) assert.fail(`systemctl ${verb}: ${output}\n${await this.status()}\n${this.log()}`);
    return output;
  }

  /** What `systemctl status` shows. */
  async status(): Promise<string> {
    return (await this.#lab.run('systemctl', 'status', '--full', this.service)).output;
  }

  property(name: string): Promise<string> {
    return this.#lab.property(this.service, name);
  }

  async mainPid(): Promise<number> {
    return Number(await this.property('MainPID'));
  }

  statusText(): Promise<string> {
    return this.property('StatusText');
  }

  /** Waits until `systemctl status` says this. */
  async says(pattern: RegExp): Promise<string> {
    let last = '';
    return until(`the status has ${pattern}`, async () => {
      last = await this.statusText();
      return pattern.test(last) && last;
    }).catch((error: Error) => {
      throw new Error(`${error.message}; it was: ${last}\n${this.log()}`);
    });
  }

  /** A command of moult, in the lab. */
  async moult(...words: string[]): Promise<string> {
    const folder = `XDG_RUNTIME_DIR=/run/moult-${this.name}`;
    const { code, output } = await this.#lab.run('env', folder, process.execPath, cli, ...words);
    assert.equal(code, 0, output);
    return output;
  }

  /** Strict clients of this unit, or of another place where it listens. */
  load(clients: NonNullable<LoadOptions['clients']>, target?: Target): Load {
    return startLoad({
      target: target ?? { host: '127.0.0.1', port: this.port },
      check: 'echo',
      clients,
      thinkMs: 20 * PACE,
      // On a busy machine a connection may wait long to be accepted; it is lost only when it is ended.
      requestTimeoutMs: 60_000,
      connectTimeoutMs: 60_000,
    });
  }

  /** Waits until so many requests more were answered. */
  async answers(load: Load, more = 200): Promise<void> {
    const from = load.snapshot().total.answered;
    await until(
      `${more} requests more are answered`,
      () => load.snapshot().total.answered >= from + more,
      60_000,
    );
  }

  // PORT stands for the port that was chosen.
  #filled(word: string): string {
    return word.replace('PORT', String(this.port));
  }
}

/** Fails unless nothing failed, was refused, lost, or came twice. */
export function assertPerfect({ total, failures }: LoadReport, unit: { log(): string }): void {
  const found = { failed: total.failed, lost: total.lost, duplicated: total.duplicated };
  const what = `${JSON.stringify(failures.slice(0, 5))}\n${unit.log()}`;
  assert.deepEqual(found, { failed: 0, lost: 0, duplicated: 0 }, what);
  assert.ok(total.answered > 0);
}
