/*
 * Over 300 lines: each way in which an order may end is told here, so that none is left out.
 */
import { asMoultError } from '../../errors.js';
import type { ObeyedRecord, Order } from '../records.js';
import { judge } from '../roll/obedience.js';
import { type Health, type LocalService, type PastRestart, Unanswered } from './local-service.js';
import { hasChangedPaths, isStartedAnew, whatServes } from './what-serves.js';

/** How often to check whether a service that is busy has come to rest. */
const LOOK_MS = 500;
/** A restart that an agent left in the middle is begun so often in all. */
const MOST_TIMES = 3;
/** From this stage on what serves can be taken back at once. */
const COMMITTED = ['commit', 'connections', 'look'];

/** What an instruction runner needs around it. */
export interface OrderRunnerParts {
  readonly service: LocalService;
  /** Has this kept where an agent that comes after finds it; settles when it is. */
  readonly keep: (obeyed: ObeyedRecord, release?: string | null) => Promise<void>;
  /** The id of the release that the last roll brought. */
  readonly release: () => string | null;
  readonly log: { info(what: string): void; warn(what: string): void };
  /** Ends all that waits. */
  readonly signal: AbortSignal;
}

/**
 * Obeys instructions, each once. What it begins is kept before it begins, so that an agent that is killed is followed by one
 * that knows how far it was.
 */
export class OrderRunner {
  readonly #parts: OrderRunnerParts;
  #obeyed: ObeyedRecord | undefined;
  #work: Promise<void> = Promise.resolve();
  #takingBack: Promise<void> = Promise.resolve();
  #entering: Promise<void> = Promise.resolve();
  /** Where a restart is under way: settles when it has committed, or is over. */
  #restart: { readonly canTakeBack: Promise<void>; readonly over: Promise<void> } | undefined;

  /** @param obeyed what an agent before this one has left. */
  constructor(parts: OrderRunnerParts, obeyed: ObeyedRecord | undefined) {
    this.#parts = parts;
    this.#obeyed = obeyed;
  }

  /** What became of the last instruction. */
  get obeyed(): ObeyedRecord | undefined {
    return this.#obeyed;
  }

  /** Goes on with what the agent before this one was killed in. */
  resume(): Promise<void> {
    const { outcome } = this.#obeyed ?? {};
    if (outcome === 'running') return this.#inTurn(() => this.#findOut());
    if (outcome === 'taking-back') return this.#inTurn(() => this.#takeBack());
    return Promise.resolve();
  }

  /** Settles when this instruction has been obeyed, or is none to be obeyed. */
  async obey(order: Order): Promise<void> {
    const entered = this.#entering.then(() => this.#enter(order));
    this.#entering = entered.then(
      () => {},
      () => {},
    );
    await (await entered)?.();
  }

  /** Judges it and keeps that it begins. @returns what is to be done. */
  async #enter(order: Order): Promise<(() => Promise<void>) | undefined> {
    if (judge(this.#obeyed, order) !== 'obey') return undefined;
    // What an earlier roll has begun here comes to its own result first, though nobody waits for that any more.
    if (this.#obeyed !== undefined && this.#obeyed.serial !== order.serial) await this.#atWorkNoMore();
    const { roll, serial, action, epoch, release } = order;
    // Said when it is kept: an agent that is killed before that is told again.
    const keep = async (obeyed: ObeyedRecord) => {
      await this.#keep(obeyed);
      this.#parts.log.info(`fleet: told to ${action} by roll ${serial}, leader ${epoch}`);
    };
    const fresh = { roll, serial, action, epoch, release } as const;
    if (action === 'restart') {
      const before = { ...servedBy(await this.#parts.service.health()), release: this.#parts.release() };
      await keep({ ...fresh, before, outcome: 'running', times: 1 });
      return () => this.#inTurn(() => this.#replace());
    }
    const last = this.#obeyed?.serial === serial ? this.#obeyed : undefined;
    const neverBegan = last === undefined || last.outcome === 'left-alone';
    if (neverBegan) {
      const before = { generation: 0, release: this.#parts.release() };
      await keep({ ...fresh, before, outcome: action === 'undo' ? 'taken-back' : 'left-alone' });
      return undefined;
    }
    // What has begun comes to its end, and is reported as ever.
    if (action === 'withdraw') {
      await keep({ ...last, action, epoch });
      return undefined;
    }
    await keep({ ...last, action, epoch, outcome: 'taking-back' });
    return async () => {
      await this.#restart?.canTakeBack;
      this.#takingBack = this.#takeBack();
      await this.#takingBack;
    };
  }

  async #atWorkNoMore(): Promise<void> {
    await Promise.allSettled([this.#work, this.#takingBack]);
  }

  async #replace(): Promise<void> {
    if ((await this.#attempt()) === 'unanswered') await this.#findOut();
  }

  async #attempt(): Promise<'answered' | 'unanswered'> {
    let canTakeBack = () => {};
    let isOver = () => {};
    this.#restart = {
      canTakeBack: new Promise((resolve) => {
        canTakeBack = resolve;
      }),
      over: new Promise((resolve) => {
        isOver = resolve;
      }),
    };
    try {
      await this.#deploy();
      // Meanwhile it may have been told to take it back.
      if (this.#obeyed?.outcome !== 'running') return 'answered';
      const { generation } = await this.#parts.service.restart((stage) => {
        if (COMMITTED.includes(stage)) canTakeBack();
      });
      const madeAt = (await this.#restarts()).findLast((one) => one.generation === generation)?.at;
      await this.#ended({
        outcome: 'succeeded',
        made: generation,
        ...(madeAt === undefined ? {} : { madeAt }),
      });
      return 'answered';
    } catch (error) {
      if (error instanceof Unanswered) return 'unanswered';
      await this.#ended({ outcome: 'failed', reason: reasonOf(error) });
      return 'answered';
    } finally {
      this.#restart = undefined;
      canTakeBack();
      isOver();
    }
  }

  async #deploy(): Promise<void> {
    const { service } = this.#parts;
    const release = this.#obeyed?.release ?? null;
    if (release === null) return;
    if (!service.hasDeploy)
      throw new Error(`the roll names release ${release}, and this host has no deploy step`);
    await this.#change({ isDeployed: true });
    await service.deploy(release, 'restart');
  }

  async #takeBack(): Promise<void> {
    const { service, log } = this.#parts;
    try {
      await this.#atRestOrInProbation();
      const health = await service.health();
      const how = whatServes(this.#obeyed, health, await service.history());
      if (how === 'another')
        throw new Error(
          'it was restarted by another command since the roll: what serves is not from this roll',
        );
      const { release } = this.#obeyed?.before ?? { release: null };
      const isDeployable = this.#obeyed?.isDeployed === true && release !== null;
      let isDone = false;
      if (how !== 'nothing') await this.#change({ wentFrom: health.generation });
      if (how === 'ours') isDone = await this.#goBack(isDeployable ? release : null);
      if (how === 'anew') isDone = await this.#bringBack(isDeployable ? release : null);
      await this.#restart?.over;
      let reason: string | undefined;
      if (isDeployable && !isDone) {
        // It serves what it had; only the paths still hold the release that failed.
        await service.deploy(release, 'undo').catch((error: unknown) => {
          reason = `undone, but the deploy step failed for ${release}: ${reasonOf(error)}`;
          log.warn(`fleet: ${reason}`);
        });
      }
      await this.#change(
        { outcome: 'taken-back', ...(reason === undefined ? {} : { reason: cut(reason) }) },
        release,
      );
    } catch (error) {
      if (this.#parts.signal.aborted) return;
      // Whether it was taken back shows when the supervisor is there again.
      if (error instanceof Unanswered) return this.#takeBack();
      await this.#change({ outcome: 'not-taken-back', reason: reasonOf(error) });
    }
  }

  // @returns whether the release was brought back to its paths for that.
  async #goBack(release: string | null): Promise<boolean> {
    const { service, log } = this.#parts;
    try {
      const { generation } = await service.rollback();
      log.info(`fleet: undone, generation ${generation} serves`);
      return false;
    } catch (error) {
      const { code } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      if (code !== 'MOULT_NOTHING_TO_ROLL_BACK' || release === null) throw error;
      log.warn(`fleet: ${reasonOf(error)}: the deploy step brings release ${release} back`);
      return this.#bringBack(release);
    }
  }

  async #bringBack(release: string | null): Promise<true> {
    const { service } = this.#parts;
    if (release === null)
      throw new Error(
        'it was stopped and started since the roll, and which release it had before is unknown',
      );
    await service.deploy(release, 'undo');
    await service.restart(() => {});
    return true;
  }

  async #restarts(): Promise<readonly PastRestart[]> {
    return (await this.#parts.service.history()).filter(({ kind }) => kind === 'restart');
  }

  // The agent before this one was killed in the middle of a restart, or its supervisor was.
  async #findOut(): Promise<void> {
    for (;;) {
      await this.#atRest();
      try {
        return await this.#conclude();
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
      }
    }
  }

  async #conclude(): Promise<void> {
    const { service } = this.#parts;
    const health = await service.health();
    const history = await service.history();
    const before = this.#obeyed?.before.generation ?? 0;
    const since = history.filter((one) => one.generation > before);
    const ended = since.findLast(({ kind }) => kind === 'restart');
    const isAnew = isStartedAnew(this.#obeyed, health, history);
    const isOpen = ended === undefined || ended.result === 'took over';
    if (ended?.result === 'confirmed' || (ended !== undefined && isOpen && !isAnew)) {
      const { generation: made, at } = ended;
      await this.#ended({ outcome: 'succeeded', made, ...(at === undefined ? {} : { madeAt: at }) });
    } else if (ended !== undefined && !isOpen) {
      await this.#ended({
        outcome: 'failed',
        reason: cut(ended.message ?? `its restart was ${ended.result}`),
      });
    } else if (isAnew) {
      // What it has is no result: it was neither deployed for certain nor checked.
      if (this.#obeyed !== undefined) {
        const { release } = this.#obeyed.before;
        await this.#change({
          before: { ...servedBy(health), release },
          isAnew: hasChangedPaths(this.#obeyed),
        });
      }
      await this.#beginAgain('the service was stopped and started before its restart had ended');
    } else if (health.generation > before && !since.some((one) => one.generation === health.generation)) {
      await this.#ended({ outcome: 'succeeded', made: health.generation });
    } else {
      await this.#beginAgain('the agent ended before the restart began');
    }
  }

  async #beginAgain(why: string): Promise<void> {
    const { outcome, times = 1 } = this.#obeyed ?? {};
    if (times < MOST_TIMES && outcome === 'running') {
      this.#parts.log.warn(`fleet: ${why}; the restart begins now`);
      await this.#change({ times: times + 1 });
      await this.#replace();
    } else {
      await this.#ended({
        outcome: 'failed',
        reason: 'it was interrupted repeatedly before it took over',
      });
    }
  }

  async #atRest(): Promise<void> {
    for (;;) {
      const health = await this.#parts.service.health().catch(() => undefined);
      if (health?.isSettled === true && health.state === 'serving') return;
      await this.#pause();
    }
  }

  // Within probation what was there before takes over again at once.
  async #atRestOrInProbation(): Promise<void> {
    for (;;) {
      const health = await this.#parts.service.health().catch(() => undefined);
      if (health !== undefined && health.generation > 0 && health.state === 'serving') return;
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    this.#parts.signal.throwIfAborted();
  }

  // The result of the restart; where it is to be taken back by now, that comes to its own result.
  async #ended(facts: Partial<ObeyedRecord>): Promise<void> {
    const isWanted = this.#obeyed?.outcome === 'running';
    const { made, madeAt, reason } = facts;
    if (!isWanted) {
      const known = { ...(made === undefined ? {} : { made }), ...(madeAt === undefined ? {} : { madeAt }) };
      if (this.#obeyed !== undefined) this.#obeyed = { ...this.#obeyed, ...known };
      return;
    }
    if (reason !== undefined) this.#parts.log.warn(`fleet: the restart failed: ${reason}`);
    const release = facts.outcome === 'succeeded' ? (this.#obeyed?.release ?? undefined) : undefined;
    await this.#change(facts, release);
  }

  async #change(facts: Partial<ObeyedRecord>, release?: string | null): Promise<void> {
    if (this.#obeyed !== undefined) await this.#keep({ ...this.#obeyed, ...facts }, release);
  }

  async #keep(obeyed: ObeyedRecord, release?: string | null): Promise<void> {
    this.#obeyed = obeyed;
    await this.#parts.keep(obeyed, release);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work, work);
    return this.#work;
  }
}

function servedBy({ generation, process }: Health): { generation: number; process?: string } {
  return process === undefined ? { generation } : { generation, process };
}

function reasonOf(error: unknown): string {
  const { code, message, details } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
  const isOurs = (error as { code?: unknown }).code === code;
  const output = Array.isArray(details?.output) ? details.output.map(String) : [];
  const last = output.findLast((line) => line.trim() !== '');
  return cut(
    `${isOurs ? `${code}: ` : ''}${message}${last === undefined ? '' : ` (its last line: ${last})`}`,
  );
}

function cut(text: string): string {
  return text.length > 600 ? `${text.slice(0, 599)}…` : text;
}
