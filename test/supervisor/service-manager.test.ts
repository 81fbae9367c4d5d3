import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { pino } from 'pino';
import { MoultError } from '#moult/errors.js';
import type { RestartSummary } from '#moult/lifecycle/restart-record.js';
import { ServiceManagerLink } from '#moult/service-manager/service-manager.js';
import { Manager } from '../service-manager/service-manager.js';
import { until } from '../support/events.js';
import { type Later, tidy } from '../support/tidy.js';

const well = () => Promise.resolve(true);
const summary = (generation: number) =>
  ({ generation, predecessor: generation - 1, moved: 7, draining: 1, tookMs: 12.3 }) as RestartSummary;

interface Held {
  readonly promise: Promise<RestartSummary>;
  readonly resolve: (value: RestartSummary) => void;
  readonly reject: (error: unknown) => void;
}

/** A restart that ends when the test says so. */
function restart(): Held {
  let settle!: Omit<Held, 'promise'>;
  const promise = new Promise<RestartSummary>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle };
}

function linkTo(
  later: Later,
  manager: Manager,
  watchdogMs: number | null = null,
  isReady?: boolean,
): ServiceManagerLink {
  const started = { notifySocket: manager.address, watchdogMs, storeMax: null };
  const link = new ServiceManagerLink(started, pino({ level: 'silent' }), isReady);
  later(() => link.close());
  return link;
}

/** What was said, as one line each, without the clock. */
const said = (manager: Manager) =>
  manager.all().map(({ MONOTONIC_USEC, ...fields }) =>
    Object.entries(fields)
      .map(([name, value]) => `${name}=${value}`)
      .join(' '),
  );

describe('what a supervisor tells its service manager', () => {
  tidy('is that it is ready, once, and then how it does', (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager);
    link.serving('generation 1 serves', well);
    link.tell('generation 1 crashed');
    link.serving('generation 2 serves', well);
    assert.deepEqual(said(manager), [
      'READY=1 STATUS=generation 1 serves',
      'STATUS=generation 1 crashed',
      'STATUS=generation 2 serves',
    ]);
  });

  tidy('is a reload for each restart, which is over when the last one is', async (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager);
    link.serving('generation 1 serves', well);
    said(manager);
    const [one, two] = [restart(), restart()];
    const first = link.reload(
      () => one.promise,
      () => 'generation 2 serves',
    );
    link.stage({ type: 'stage', stage: 'check', generation: 2, at: 0, ms: 0, facts: {} });
    const second = link.reload(
      () => two.promise,
      () => 'generation 3 serves',
    );
    const begun = ['RELOADING=1 STATUS=restart: it begins', 'EXTEND_TIMEOUT_USEC=30000000'];
    assert.deepEqual(said(manager), [...begun, 'STATUS=restart: generation 2 is at check', ...begun]);
    one.resolve(summary(2));
    await first;
    assert.deepEqual(said(manager), [], 'the second is still under way');
    two.resolve(summary(3));
    await second;
    const took = 'it took over from generation 2 in 12 ms: 7 connections moved, 1 drain';
    assert.deepEqual(said(manager), [`READY=1 STATUS=generation 3 serves; ${took}`]);
  });

  tidy('is why a restart failed, and who serves', async (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager);
    link.serving('generation 1 serves', well);
    said(manager);
    const error = new MoultError('MOULT_CHECK_FAILED', 'GET / answered 503', { stage: 'check' });
    const failed = link.reload(
      () => Promise.reject(error),
      () => 'generation 1 serves',
    );
    await assert.rejects(failed, error);
    const status = 'restart failed at check: GET / answered 503 (MOULT_CHECK_FAILED); generation 1 serves';
    assert.equal(said(manager).at(-1), `READY=1 STATUS=${status}`);
  });

  tidy('is no reload, and no READY, before the start is complete', async (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager);
    const failed = link.reload(
      () => Promise.reject(new Error('no')),
      () => 'nobody serves',
    );
    await assert.rejects(failed);
    assert.deepEqual(said(manager), []);
  });

  tidy(
    'is a reload in a new program, too, before anybody was found there, while its watchdog runs on',
    async (later) => {
      const manager = new Manager(later);
      const link = linkTo(later, manager, 20, true);
      link.accepting(well);
      await until(() => said(manager).includes('WATCHDOG=1'), 'the watchdog is told');
      link.close();
      const next = linkTo(later, manager, null, link.isReady);
      await next.reload(
        () => Promise.resolve(summary(2)),
        () => 'generation 2 serves',
      );
      assert.ok(said(manager).includes('RELOADING=1 STATUS=restart: it begins'));
    },
  );

  tidy('is the end, after which a reload is over for nobody', async (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager);
    link.serving('generation 1 serves', well);
    const one = restart();
    const reload = link.reload(
      () => one.promise,
      () => 'nobody serves',
    );
    said(manager);
    link.stopping();
    one.reject(new Error('stopped'));
    await assert.rejects(reload);
    link.serving('too late', well);
    assert.deepEqual(said(manager), [
      'STOPPING=1 STATUS=stopping: finishing requests in flight',
      'EXTEND_TIMEOUT_USEC=30000000',
    ]);
  });

  tidy('is that all is well, as long as the service answers', async (later) => {
    const manager = new Manager(later);
    const link = linkTo(later, manager, 20);
    let asked = 0;
    let isWell = true;
    link.serving('generation 1 serves', async () => {
      asked += 1;
      return isWell;
    });
    await until(() => asked > 3, 'it is asked again and again');
    isWell = false;
    assert.ok(said(manager).filter((line) => line === 'WATCHDOG=1').length >= 2);
    const before = asked;
    await until(() => asked > before + 2, 'it is asked still');
    assert.deepEqual(said(manager), []);
  });

  tidy('is nothing where there is none', async () => {
    const link = new ServiceManagerLink(undefined, pino({ level: 'silent' }));
    assert.equal(link.keepsListeners, false);
    link.serving('generation 1 serves', well);
    assert.equal(
      (
        await link.reload(
          () => Promise.resolve(summary(2)),
          () => '',
        )
      ).generation,
      2,
    );
    link.stopping();
    link.close();
  });
});
