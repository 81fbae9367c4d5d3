import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/free-ports.js';
import { fixture, Supervised, type SupervisedOptions, until } from './supervised.js';

/** A line of what the tasks of the service did. */
export interface Told {
  readonly at: number;
  readonly generation: number;
  readonly what: string;
  readonly epoch?: number;
  readonly saved?: unknown;
  readonly turns?: number;
  readonly job?: string;
  readonly step?: number;
  readonly id?: string;
  readonly due?: number;
  readonly part?: number;
  readonly bytes?: number;
}

/** The service of keeps.mjs, or another one that tells as that does, under `moult run`. */
export class Keeper {
  readonly service: Supervised;
  /** What it was started with. */
  readonly options: SupervisedOptions;
  /** What its supervisor is expected to end with. */
  endsWith: number | string = 0;
  readonly #folder: string;
  readonly #port: number;

  private constructor(service: Supervised, options: SupervisedOptions, folder: string, port: number) {
    this.service = service;
    this.options = options;
    this.#folder = folder;
    this.#port = port;
  }

  /** Runs a test with one, stops it, and leaves nothing behind. */
  static async with(
    runOptions: readonly string[],
    env: Readonly<Record<string, string>>,
    test: (keeper: Keeper) => Promise<void>,
    name = 'keeps.mjs',
  ): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'moult-keeps-'));
    writeFileSync(join(folder, 'behaviour'), 'good');
    writeFileSync(join(folder, 'log'), '');
    const port = await freePort();
    const options: SupervisedOptions = {
      command: [fixture(name)],
      runOptions,
      env: {
        PORT: String(port),
        LOG: join(folder, 'log'),
        BEHAVIOUR: join(folder, 'behaviour'),
        GATE: join(folder, 'gate'),
        ...env,
      },
    };
    const service = await Supervised.start(options);
    try {
      const keeper = new Keeper(service, options, folder, port);
      await test(keeper);
      await service.stop(keeper.endsWith);
    } catch (error) {
      const log = readFileSync(join(folder, 'log'), 'utf8');
      await service.kill();
      throw new Error(`${(error as Error).stack}\n${service.output}\n${log}`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  ask = async (path: string): Promise<Record<string, unknown>> => {
    const url = `http://127.0.0.1:${this.#port}${path}`;
    return (await fetch(url, { headers: { connection: 'close' } })).json() as Promise<
      Record<string, unknown>
    >;
  };

  /** How the next generation is to behave. */
  behave = (how: string): void => writeFileSync(join(this.#folder, 'behaviour'), how);

  /** Lets go on what waits at the gate. */
  openGate = (): void => writeFileSync(join(this.#folder, 'gate'), '');

  /** What was told so far, in the order in which it was written. */
  told = (what?: string): Told[] => {
    const lines = readFileSync(join(this.#folder, 'log'), 'utf8').split('\n').slice(0, -1);
    const all = lines.map((line) => JSON.parse(line) as Told);
    return what === undefined ? all : all.filter((one) => one.what === what);
  };

  /** Waits until this was told by this generation. */
  tells = (what: string, generation?: number): Promise<Told> =>
    until(`${what} is told by ${generation ?? 'any'}`, () =>
      this.told(what).find((one) => generation === undefined || one.generation === generation),
    );
}
