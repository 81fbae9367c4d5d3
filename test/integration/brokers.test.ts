import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Broker, brokerOf } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { root, Supervised, until } from './supervised.js';

const FOLDER = path.join(root, 'proofs/brokers');
const PER_SECOND = 50;
/** Twenty: node proofs/brokers.mjs. */
const RESTARTS = 2;
const OVERLAP = ['jetstream', 'nats', 'redis-streams'];

interface Found {
  readonly sent: number;
  readonly generations: number;
  readonly accepted: number;
  readonly problems: readonly string[];
}

interface Terms {
  readonly changeover: 'exclusive' | 'overlap';
  readonly messages: number;
  readonly perSecond: number;
  readonly parts?: number;
  readonly isCut?: boolean;
  during?(run: {
    readonly service: Supervised;
    readonly part: number;
    /** How many generations have handled a message. */
    handlers(): number;
  }): Promise<unknown>;
}

/** proofs/brokers/prove.mjs */
interface Bench {
  readonly server: { start(): Promise<void>; stop(): Promise<void> };
  start(): Promise<void>;
  stop(): Promise<void>;
  run(terms: Terms): Promise<Found>;
  mostConnections(restarts: number): number | undefined;
}

const { Bench: BenchClass } = (await import(pathToFileURL(path.join(FOLDER, 'prove.mjs')).href)) as {
  Bench: new (name: string, broker: Broker, Supervised: unknown) => Bench;
};

for (const file of readdirSync(FOLDER).sort()) {
  const name = path.basename(file, '.mjs');
  if (name === 'service') continue;
  const broker = (await brokerOf(name)) as (Broker & { changeovers?: string[]; keeps?: boolean }) | undefined;
  if (broker?.consumer === undefined) continue;
  const skip = lacksServer(broker);

  describe(`a service that consumes (${name})`, { skip }, () => {
    const bench = new BenchClass(name, broker, Supervised);
    if (skip === false) {
      before(() => bench.start());
      after(() => bench.stop());
    }

    // One of the two for each broker, here; test/consumers has both for each, without restarts, and proofs/brokers.mjs with.
    const changeover = OVERLAP.includes(name) ? 'overlap' : 'exclusive';
    assert.notEqual(broker.changeovers?.includes(changeover), false);
    it(`loses and doubles no message over restarts (${changeover})`, async () => {
      const found = await bench.run({
        changeover,
        messages: 150,
        perSecond: PER_SECOND,
        parts: RESTARTS,
        // Messages come for as long as this takes, also after the last restart.
        during: async ({ service, part, handlers }) => {
          await until('each has handled one', () => handlers() === part);
          await service.restart('--wait=confirmed');
          await until('the next one handles, too', () => handlers() === part + 1);
        },
      });
      assert.deepEqual(found.problems, []);
      assert.equal(found.generations, RESTARTS + 1);
      const most = bench.mostConnections(RESTARTS);
      if (most !== undefined) assert.ok(found.accepted <= most, `${found.accepted} connections`);
    });

    // What is sent while it is away, or before a consumer is connected again, one that keeps nothing gives to nobody.
    const skipAway = broker.keeps === false;
    it('goes on in the predecessor when its broker is away at the moment of the restart', {
      skip: skipAway,
    }, async () => {
      const found = await bench.run({
        changeover: 'exclusive',
        messages: 100,
        perSecond: PER_SECOND,
        parts: 1,
        isCut: true,
        during: async ({ service }) => {
          await bench.server.stop();
          try {
            const error = await service.failingRestart();
            assert.equal(error.serving, 'predecessor');
          } finally {
            await bench.server.start();
          }
          assert.equal((await service.current()).generation, 1);
          await until(
            'the successor has gone',
            async () => (await service.status()).generations.length === 1,
          );
        },
      });
      assert.deepEqual(found.problems, []);
      assert.equal(found.generations, 1);
    });
  });
}
