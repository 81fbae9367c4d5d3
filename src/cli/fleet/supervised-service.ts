import { runDeployStep } from '../../fleet/agent/deploy-step.js';
import {
  type Health,
  type LocalService,
  type PastRestart,
  Unanswered,
} from '../../fleet/agent/local-service.js';
import type { FleetSettings } from '../../fleet/settings.js';
import type { RunFolder } from '../../supervisor/journal/run-folder.js';
import type { GenerationStatus, ServiceStatus } from '../../supervisor/status.js';
import { ask, isUnanswered } from '../services/control.js';

/** In these a generation is on its way, or may yet be taken back. */
const UNSETTLED = new Set([
  'starting',
  'expecting',
  'inheriting',
  'ready',
  'committing',
  'probation',
  'verifying',
  'undoing',
]);

type Asked = Parameters<typeof ask>;

/** A service under a supervisor of this machine, as its agent sees it: by what every command may ask. */
export class SupervisedService implements LocalService {
  readonly #folder: RunFolder;
  readonly #settings: FleetSettings;

  constructor(folder: RunFolder, settings: FleetSettings) {
    this.#folder = folder;
    this.#settings = settings;
  }

  get hasDeploy(): boolean {
    return this.#settings.deploy !== undefined;
  }

  async health(): Promise<Health> {
    const status = (await this.#ask({ type: 'status', measure: true })) as unknown as ServiceStatus;
    const serving = status.generations.filter(({ state }) => state === 'serving');
    const sum = (of: (one: GenerationStatus) => number | undefined, all = serving) =>
      Math.round(all.reduce((whole, one) => whole + (of(one) ?? 0), 0));
    const last = serving.reduce((most, { generation }) => Math.max(most, generation), 0);
    const now = serving.find(({ generation }) => generation === last);
    const label = now?.entry ?? status.command;
    const isMeasured = serving.some(({ measures }) => measures !== undefined);
    return {
      state: status.state,
      generation: last,
      ...(now === undefined ? {} : { process: processOf(now) }),
      ...didTakeOver(serving),
      isSettled: serving.length > 0 && !status.generations.some(({ state }) => UNSETTLED.has(state)),
      label,
      connections: sum(({ connections }) => connections, [...status.generations]),
      inFlight: sum(({ inFlight }) => inFlight, [...status.generations]),
      restarts: status.restarts,
      crashes: status.crashes,
      ...(isMeasured
        ? {
            requests: sum(({ measures }) => measures?.requests),
            errors: sum(({ measures }) => measures?.errors),
            durationSumMs: sum(({ measures }) => measures?.durationSumMs),
          }
        : {}),
    };
  }

  async history(): Promise<readonly PastRestart[]> {
    const { restarts } = await this.#ask({ type: 'history' });
    return (restarts as Record<string, unknown>[]).map(({ generation, kind, result, message, at }) => ({
      generation: Number(generation),
      kind: String(kind),
      result: String(result),
      ...(message === undefined ? {} : { message: String(message) }),
      ...(typeof at === 'number' ? { at } : {}),
    }));
  }

  async restart(told: (stage: string) => void): Promise<{ generation: number }> {
    const question = {
      type: 'restart',
      wait: true,
      ifBusy: 'wait',
      allowFewerListeners: false,
      untilConfirmed: true,
      untilDrained: false,
      whenQuiet: null,
    } as const;
    const { generation, slots } = await this.#ask(question, (event) => told(String(event.stage)));
    const all = Array.isArray(slots) ? slots.map((one) => Number(one.generation)) : [];
    return { generation: Math.max(Number(generation), ...all) };
  }

  async rollback(): Promise<{ generation: number }> {
    const { generation } = await this.#ask({ type: 'rollback' });
    return { generation: Number(generation) };
  }

  // All that a supervisor is asked.
  #ask(...[question, onEvent]: [Asked[1], Asked[2]?]): ReturnType<typeof ask> {
    return ask(this.#folder, question, onEvent).catch((error: unknown) => {
      throw isUnanswered(error) ? new Unanswered(String(error), { cause: error }) : error;
    });
  }

  deploy(release: string, why: 'restart' | 'undo'): Promise<void> {
    const { deploy = '', folder, deployTimeout } = this.#settings;
    const step = { command: deploy, folder, timeoutMs: deployTimeout * 1000 };
    return runDeployStep(step, this.#folder.name, release, why);
  }
}

// One slot that was added took over from none.
function didTakeOver(serving: readonly GenerationStatus[]): { tookOver?: boolean } {
  if (serving.some(({ tookOver }) => tookOver === true)) return { tookOver: true };
  const isKnown = serving.length > 0 && serving.every(({ tookOver }) => tookOver === false);
  return isKnown ? { tookOver: false } : {};
}

// In a container each first process has the same number. Only one that says whether it took over says itself when it began.
function processOf({ pid, startedAt, tookOver }: GenerationStatus): string {
  return tookOver === undefined ? `${pid}` : `${pid} ${startedAt}`;
}
