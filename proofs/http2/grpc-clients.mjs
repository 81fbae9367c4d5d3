// Clients of @grpc/grpc-js, as it comes: what it sends again by itself is its own affair, what it reports is a failure.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Tally } from './tally.mjs';

const proto = fileURLToPath(new URL('../../test/fixtures/services/calls.proto', import.meta.url));
const { calls } = loadPackageDefinition(loadSync(proto));
const ITEMS = 8;
const THINK_MS = 10;
/** A call that takes longer will not end. */
const CALL_LIMIT_MS = 20_000;

const ways = {
  one: (client) =>
    new Promise((resolve, reject) => {
      client.Once({ number: 7 }, { deadline: Date.now() + CALL_LIMIT_MS }, (error, item) => {
        if (error) reject(error);
        else resolve([item]);
      });
    }).then((items) => expectNumbers(items, [7])),
  count: async (client) => {
    const call = client.Count({ number: ITEMS }, { deadline: Date.now() + CALL_LIMIT_MS });
    expectNumbers(
      await itemsOf(call),
      Array.from({ length: ITEMS }, (_, i) => i + 1),
    );
  },
  talk: async (client) => {
    const call = client.Talk({ deadline: Date.now() + CALL_LIMIT_MS });
    const heard = itemsOf(call);
    heard.catch(() => {});
    const numbers = Array.from({ length: ITEMS }, (_, i) => 10 * (i + 1));
    for (const number of numbers) {
      call.write({ number });
      await pause(Math.random() * 2 * THINK_MS);
    }
    call.end();
    expectNumbers(await heard, numbers);
  },
};

export class GrpcClients {
  tally = new Tally();
  #loops;
  #clients;
  #isOver = false;

  /** So many channels, each with one call of each kind at a time; with TLS where the certificate is in a folder. */
  constructor(port, channels, certificateFolder) {
    const secure = () => credentials.createSsl(readFileSync(path.join(certificateFolder, 'cert.pem')));
    this.#clients = Array.from(
      { length: channels },
      () =>
        new calls.Calls(`localhost:${port}`, certificateFolder ? secure() : credentials.createInsecure(), {
          'grpc.use_local_subchannel_pool': 1,
        }),
    );
    this.#loops = this.#clients.flatMap((client) =>
      Object.entries(ways).map(([way, call]) => this.#ask(client, way, call)),
    );
  }

  async stop() {
    this.#isOver = true;
    await Promise.all(this.#loops);
    for (const client of this.#clients) client.close();
  }

  async #ask(client, way, call) {
    while (!this.#isOver) {
      await this.tally.counts(way, () => call(client));
      await pause(Math.random() * 2 * THINK_MS);
    }
  }
}

async function itemsOf(call) {
  const items = [];
  const status = new Promise((resolve) => call.on('status', resolve));
  for await (const item of call) items.push(item);
  const { code, details } = await status;
  if (code !== 0) throw new Error(`status ${code}: ${details}`);
  return items;
}

function expectNumbers(items, numbers) {
  const found = items.map(({ number }) => number).join();
  if (found !== numbers.join()) throw new Error(`expected ${numbers.join()}, received ${found}`);
  if (new Set(items.map(({ pid }) => pid)).size !== 1)
    throw new Error('one call was answered by two processes');
}
