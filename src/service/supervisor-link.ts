import { dirname } from 'node:path';
import type { Channel } from '../channel/channel.js';
import { Opening } from '../channel/open.js';
import { MoultError } from '../errors.js';
import { DirectOutput } from './direct-output.js';
import type { Overseer, Standing } from './overseer.js';
import { rejoin } from './rejoin.js';

/** A generation's link to the supervisor that started it, or to one that came after. */
export class SupervisorLink implements Overseer {
  readonly lifeline: Channel;
  readonly folder: string;
  readonly #path: string;
  #output: DirectOutput;

  /** @param path of the supervisor's socket. @param output of the supervisor; belongs to this object. */
  constructor(path: string, lifeline: Channel, output: DirectOutput) {
    this.#path = path;
    this.folder = dirname(path);
    this.lifeline = lifeline;
    this.#output = output;
    lifeline.on('direct-output', () => this.releaseOutput());
  }

  releaseOutput(): void {
    this.#output.begin();
  }

  async next(generation: number, standing: () => Standing): Promise<Overseer> {
    const { channel, output } = await rejoin(this.#path, () => ({
      role: 'generation',
      generation,
      node: process.version,
      rejoin: standing(),
    }));
    return new SupervisorLink(this.#path, channel, new DirectOutput(output));
  }
}

/**
 * Begins the opening of a lifeline.
 * @returns null when no supervisor is there: the service runs by itself then, which must not keep it from starting.
 */
export function openLifeline(path: string, generation: number, timeoutMs: number): Opening | null {
  try {
    const { version: node, argv } = process;
    return new Opening(path, { role: 'generation', generation, node, entry: argv[1] ?? '' }, timeoutMs);
  } catch (error) {
    if (!(error instanceof MoultError) || error.code !== 'MOULT_SYSTEM_CALL') throw error;
    process.emitWarning(
      `the supervisor is gone (${error.message}); the service runs without it`,
      'MoultWarning',
    );
    return null;
  }
}
