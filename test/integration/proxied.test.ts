import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fixture, root, until, withService } from './supervised.js';

interface Talker {
  readonly problems: readonly string[];
  readonly answered: number;
  run(): Promise<void>;
  finish(running: Promise<void>): Promise<void>;
}

type Supervised = Parameters<Parameters<typeof withService>[1]>[0];

/** Clients of all kinds that speak through a proxy to a server that stays; what they and the server say is counted. */
async function withTalkers(
  proxy: string,
  body: (service: Supervised, talkers: readonly Talker[], goOn: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const load = (name: string) => import(path.join(root, 'proofs/long-lived', name));
  const { Talker } = await load('talker.mjs');
  const { transports } = await load('transports.mjs');
  await withService({ command: [fixture('websockets.mjs')] }, async (backend) => {
    const { port: behind } = await backend.target();
    const env = { BACKEND: String(behind), PROXY: proxy };
    const runOptions = ['--probation', '1h', '--drain-timeout', '30s'];
    await withService({ command: [fixture('proxied.mjs')], runOptions, env }, async (service) => {
      const { port } = await service.target();
      const talkers: Talker[] = Object.entries(transports.websockets).map(
        ([kind, make], id) => new Talker(id, kind, make, { port }, 20),
      );
      const running = talkers.map((talker) => talker.run());
      const goOn = async () => {
        const before = talkers.map(({ answered }) => answered);
        await until('all go on', () =>
          talkers.every(
            ({ answered, problems }, i) => problems.length > 0 || answered > (before[i] ?? 0) + 5,
          ),
        );
      };
      await goOn();
      await body(service, talkers, goOn);
      await Promise.all(talkers.map((talker, i) => talker.finish(running[i] as Promise<void>)));
      assert.deepEqual(
        talkers.flatMap(({ problems }) => problems),
        [],
      );
    });
  });
}

const connectionsOfServing = async (service: Supervised) => {
  const { generations } = await service.status();
  return generations.find(({ state }) => state === 'serving')?.connections;
};

describe('WebSockets that a proxy passes on', () => {
  for (const proxy of ['http-proxy', 'http-proxy-middleware', 'pipes']) {
    it(`move with both of their ends, and back, and again, through ${proxy}`, async () => {
      await withTalkers(proxy, async (service, talkers, goOn) => {
        const allMoved = () =>
          until('all have moved', async () => (await connectionsOfServing(service)) === talkers.length);
        for (let i = 0; i < 3; i += 1) {
          await service.restart();
          await allMoved();
          await goOn();
          if (i === 1) continue;
          const { code, stdout } = await service.moult('rollback', service.name, '--json');
          assert.equal(code, 0, stdout);
          await goOn();
          await allMoved();
        }
      });
    });
  }

  it('stay where their service looks at what it passes on, and the summary says so', async () => {
    await withTalkers('observer', async (service, talkers) => {
      const { moved, draining, remaining } = await service.restart();
      assert.equal(moved, 0);
      assert.equal(draining, talkers.length);
      assert.deepEqual(remaining, [
        {
          reason: 'passed on by its service, not from plain socket to plain socket: it cannot move',
          connections: talkers.length,
        },
      ]);
    });
  });

  it('lose, double and reorder no byte where both ends are slow and everything in between is full', async () => {
    const backend = createServer((socket) => echoAfterUpgrade(socket)).listen(0, '127.0.0.1');
    await new Promise((resolve) => backend.once('listening', resolve));
    const env = { BACKEND: String((backend.address() as AddressInfo).port), PROXY: 'http-proxy' };
    // Those that are too full to move are served to their end, however long that takes.
    const runOptions = ['--probation', '1h', '--drain-timeout', '1h'];
    const clients: BulkClient[] = [];
    try {
      await withService({ command: [fixture('proxied.mjs')], runOptions, env }, async (service) => {
        const { port } = await service.target();
        for (let id = 0; id < 6; id += 1) clients.push(new BulkClient(port, id));
        await Promise.all(clients.map(({ isUpgraded }) => isUpgraded));
        let moved = 0;
        for (let i = 0; i < 4; i += 1) {
          const before = clients.map(({ received }) => received);
          await until('bytes flow', () =>
            clients.every(({ received }, n) => received > (before[n] ?? 0) + 100_000),
          );
          const summary = await service.restart();
          moved += summary.moved;
          for (const { reason } of summary.remaining ?? [])
            assert.equal(reason, 'passed on by its service, and too much was waiting on it to move');
          if (i % 2 === 0) assert.equal((await service.moult('rollback', service.name)).code, 0);
        }
        assert.ok(moved > 0);
        await Promise.all(clients.map((client) => client.finish()));
        for (const client of clients) assert.equal(client.receivedHash(), client.sentHash());
      });
    } finally {
      for (const client of clients) client.close();
      backend.close();
    }
  });
});

/** Says yes to an upgrade, and sends back whatever comes after it; a slow reader makes what is before it full. */
function echoAfterUpgrade(socket: Socket): void {
  let head = '';
  const onHead = (chunk: Buffer) => {
    head += chunk.toString('latin1');
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) return;
    socket.off('data', onHead);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.write(Buffer.from(head.slice(end + 4), 'latin1'));
    socket.pipe(socket);
  };
  socket.on('data', onHead);
  socket.on('error', () => {});
}

/** Sends numbers without a pause, reads by fits and starts. */
class BulkClient {
  readonly isUpgraded: Promise<void>;
  received = 0;
  readonly #socket: Socket;
  readonly #sent = createHash('sha256');
  readonly #got = createHash('sha256');
  readonly #ended: Promise<unknown>;
  #sentBytes = 0;
  #isSending = true;

  constructor(port: number, id: number) {
    this.#socket = connect(port, '127.0.0.1');
    const head = 'Host: any\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    this.#socket.write(`GET / HTTP/1.1\r\n${head}`);
    this.#ended = new Promise((resolve, reject) => {
      this.#socket.once('close', resolve);
      this.#socket.once('error', reject);
    });
    this.#ended.catch(() => {});
    this.isUpgraded = new Promise((resolve) => {
      let answer = '';
      const onHead = (chunk: Buffer) => {
        answer += chunk.toString('latin1');
        if (!answer.includes('\r\n\r\n')) return;
        this.#socket.off('data', onHead);
        this.#take(Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1'));
        this.#socket.on('data', (more) => this.#take(more));
        this.#send(id);
        resolve();
      };
      this.#socket.on('data', onHead);
    });
  }

  sentHash(): string {
    return `${this.#sentBytes} ${this.#sent.digest('hex')}`;
  }

  receivedHash(): string {
    return `${this.received} ${this.#got.digest('hex')}`;
  }

  close(): void {
    this.#isSending = false;
    this.#socket.destroy();
  }

  /** Sends no more, and waits for all that it has sent. */
  async finish(): Promise<void> {
    this.#isSending = false;
    await until('all came back', () => this.received >= this.#sentBytes);
    this.#socket.end();
    await this.#ended;
  }

  #send(start: number): void {
    let n = start * 1_000_000;
    const more = () => {
      if (!this.#isSending || this.#socket.destroyed) return;
      let hasRoom = true;
      while (hasRoom) {
        const chunk = Buffer.from(Array.from({ length: 2000 }, () => `${n++} `).join(''));
        this.#sent.update(chunk);
        this.#sentBytes += chunk.length;
        hasRoom = this.#socket.write(chunk);
      }
      this.#socket.once('drain', () => setTimeout(more, 2));
    };
    more();
  }

  #take(chunk: Buffer): void {
    this.#got.update(chunk);
    this.received += chunk.length;
    if (this.received % 7 !== 0) return;
    this.#socket.pause();
    setTimeout(() => this.#socket.resume(), 5);
  }
}
