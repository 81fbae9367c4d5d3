import assert from 'node:assert/strict';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import http, { Agent } from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { io, type Socket } from 'socket.io-client';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { portOf, serving, whenAllServe } from './slots-of.js';
import { fixture, root, Supervised, until, withFolder, withService } from './supervised.js';

const sticky = {
  command: [fixture('tells-slot.mjs')],
  runOptions: ['--slots', '4', '--sticky', 'address'],
};
const ADDRESSES = Array.from({ length: 39 }, (_, i) => `127.0.0.${i + 2}`);

/** @param agent keeps its connection, or false for a connection of its own. @returns the slot that answers. */
function askFrom(
  localAddress: string,
  port: number,
  agent: Agent | false = false,
  request: typeof http.request = http.request,
  read: (text: string) => number = Number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', port, localAddress, agent, rejectUnauthorized: false };
    const asked = request(to, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(read(text)));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

function generationOf(text: string): number {
  return Number((JSON.parse(text) as { generation: string }).generation);
}

/** The slot of each address, each over a connection of its own. */
async function homes(port: number): Promise<number[]> {
  return Promise.all(ADDRESSES.map((address) => askFrom(address, port)));
}

/** Clients that ask all the time, each over a connection that it keeps and over new ones. Nobody tries again. */
class Crowd {
  /** The slots that each address has met, one after another. */
  readonly met: number[][] = [];
  readonly failures: unknown[] = [];
  answered = 0;
  #isOver = false;
  readonly #all: Promise<void>;
  readonly #agents: Agent[] = [];
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
    this.#all = Promise.all(ADDRESSES.map((address, i) => this.#ask(address, i))).then(() => {});
  }

  /** Forgets what they have met. */
  anew(): void {
    for (const slots of this.met) slots.length = 0;
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#all;
    for (const agent of this.#agents) agent.destroy();
    assert.deepEqual(this.failures, []);
    assert.ok(this.answered > ADDRESSES.length);
  }

  async #ask(address: string, which: number): Promise<void> {
    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    this.#agents.push(kept);
    const met: number[] = [];
    this.met[which] = met;
    for (let i = 0; !this.#isOver; i += 1) {
      try {
        const slot = await askFrom(address, this.#port, i % 2 === 0 && kept);
        if (met.at(-1) !== slot) met.push(slot);
        this.answered += 1;
      } catch (error) {
        this.failures.push(`${address}: ${String(error)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

describe('sticky sessions by address', () => {
  it('bring each client to one slot, and use all slots', async () => {
    await withService(sticky, async (service) => {
      await whenAllServe(service, 4);
      const port = await portOf(service);
      const first = await homes(port);
      assert.deepEqual([...new Set(first)].sort(), [0, 1, 2, 3]);
      for (let i = 0; i < 5; i += 1) assert.deepEqual(await homes(port), first);
    });
  });

  it('keep each client in its slot while the slots are replaced, and lose nothing', async () => {
    await withService(sticky, async (service) => {
      await whenAllServe(service, 4);
      const port = await portOf(service);
      const first = await homes(port);
      const crowd = new Crowd(port);
      await service.restart();
      await service.restart('--surge', '3');
      await crowd.stop();
      // On a machine that is too busy to answer for 2 s a slot is away, as one that hangs is; but then it is said.
      const isSaid = (home: number | undefined, slot: number) =>
        slot === home ||
        new RegExp(`slot ${home} could not be reached for \\d+ ms: slot ${slot} serves`).test(service.output);
      const strays = () =>
        crowd.met.flatMap((met, i) => met.filter((slot) => !isSaid(first[i], slot)).map(() => [i, ...met]));
      // What a process prints takes its time.
      await until('it is said which slot was away', () => strays().length === 0).catch(() =>
        assert.deepEqual(strays(), []),
      );
    });
  });

  it('move few clients when slots come or go, with the connections that they have', async () => {
    await withService(sticky, async (service) => {
      await whenAllServe(service, 4);
      const port = await portOf(service);
      const before = await homes(port);
      const crowd = new Crowd(port);
      assert.equal((await service.moult('scale', '5', service.name)).code, 0);
      const grown = await settled(crowd, port);
      const changed = grown.filter((slot, i) => slot !== before[i]);
      assert.ok(changed.length > 0 && changed.every((slot) => slot === 4), 'only the new slot gets any');
      assert.ok(changed.length < ADDRESSES.length / 2);
      assert.equal((await service.moult('scale', '3', service.name)).code, 0);
      const shrunk = await settled(crowd, port);
      assert.ok(shrunk.every((slot, i) => slot < 3 && (slot === before[i] || (before[i] ?? 0) >= 3)));
      await crowd.stop();
    });
  });

  it('have clients of a slot that has crashed wait for it, and served by others where it does not come', async () => {
    await withService(sticky, async (service) => {
      const [, second] = await whenAllServe(service, 4);
      const port = await portOf(service);
      const before = await homes(port);
      assert.ok(second);
      process.kill(second.pid, 'SIGSTOP');
      // Nobody answers there, and nobody knows why: those who come are served elsewhere.
      const answered = await Promise.all(
        ADDRESSES.map((address, i) => (before[i] === 1 ? askFrom(address, port) : undefined)),
      );
      assert.ok(answered.every((slot) => slot !== 1));
      process.kill(second.pid, 'SIGCONT');
      await until('its clients meet it again', async () => same(await homes(port), before));
      process.kill(second.pid, 'SIGKILL');
      await service.logs(/generation \d+ was ended by SIGKILL/);
      await whenAllServe(service, 4);
      await until('its clients meet its successor', async () => same(await homes(port), before));
    });
  });

  it('find a slot again that was away for long, and keep nothing open for it', async () => {
    await withFolder(async (folder) => {
      const SLOW_WHEN = path.join(folder, 'slow');
      const runOptions = ['--slots', '2', '--sticky', 'address'];
      await withService({ ...sticky, runOptions, env: { SLOW_WHEN } }, async (service) => {
        const [, second] = await whenAllServe(service, 2);
        const port = await portOf(service);
        const before = await homes(port);
        const ofSecond = ADDRESSES.filter((_, i) => before[i] === 1);
        assert.ok(second);
        writeFileSync(SLOW_WHEN, '');
        process.kill(second.pid, 'SIGKILL');
        await service.logs(/generation \d+ was ended by SIGKILL/);
        // It is noticed that nobody is there.
        await Promise.all(ofSecond.map((address) => askFrom(address, port)));
        const said = /slot 1 could not be reached for \d+ ms: slot 0 serves its new clients until it can be/;
        await until('it is said', () => said.test(service.output));
        const again = await whenAllServe(service, 2);
        rmSync(SLOW_WHEN);
        await until('its clients meet it again', async () => same(await homes(port), before));
        const open = () => again.map(({ pid }) => readdirSync(`/proc/${pid}/fd`).length);
        const openBefore = open();
        for (let round = 0; round < 10; round += 1) assert.ok(same(await homes(port), before));
        await until('nothing more is open than before', () =>
          open().every((count, i) => count <= (openBefore[i] ?? 0) + 4),
        );
      });
    });
  });

  it('lose nothing of a strict client, all of whose connections go to one slot', async () => {
    const runOptions = ['--slots', '3', '--sticky', 'address'];
    await withService({ command: [fixture('http.cjs')], runOptions }, async (service) => {
      await whenAllServe(service, 3);
      const clients = { 'kept-alive': 12, pipelined: 4, 'slow-body': 4, 'new-connection': 8 } as const;
      const target = { host: '127.0.0.1', port: await portOf(service) };
      const load = startLoad({ target, check: 'echo', clients, thinkMs: 20 * PACE });
      await until('one slot has them', async () => {
        const counts = (await serving(service)).map(({ connections = 0 }) => connections);
        return counts.filter((count) => count > 0).length === 1;
      });
      await service.restart();
      assert.equal((await service.moult('scale', '1', service.name)).code, 0);
      assert.equal((await service.moult('scale', '4', service.name)).code, 0);
      const { total, failures } = await load.stop();
      const { failed, lost, duplicated } = total;
      const found = { failed, lost, duplicated };
      assert.deepEqual(found, { failed: 0, lost: 0, duplicated: 0 }, JSON.stringify(failures));
      assert.ok(total.answered > 0);
    });
  });

  it('hold for TLS, of which nothing has been read either', async () => {
    const runOptions = ['--slots', '3', '--sticky', 'address'];
    const env = { CERTIFICATE: path.join(root, 'test/fixtures') };
    await withService({ command: [fixture('https.mjs')], runOptions, env }, async (service) => {
      await whenAllServe(service, 3);
      const port = await portOf(service);
      const ask = (address: string) => askFrom(address, port, false, https.request, generationOf);
      const first = await Promise.all(ADDRESSES.map(ask));
      assert.equal(new Set(first).size, 3);
      for (let i = 0; i < 3; i += 1) assert.deepEqual(await Promise.all(ADDRESSES.map(ask)), first);
    });
  });

  it('hold when another supervisor has come, and are over when it wants none', async () => {
    await withFolder(async (runtimeFolder) => {
      const first = await Supervised.start({ ...sticky, runtimeFolder });
      await whenAllServe(first, 4);
      const port = await portOf(first);
      const before = await homes(port);
      const crowd = new Crowd(port);
      await first.killSupervisor();
      assert.deepEqual(await homes(port), before, 'the slots know of each other');
      const second = await Supervised.start({ ...sticky, runtimeFolder });
      await whenAllServe(second, 4);
      await second.restart();
      await crowd.stop();
      assert.deepEqual(
        crowd.met,
        before.map((slot) => [slot]),
      );
      await second.killSupervisor();
      const runOptions = ['--slots', '4'];
      await withService({ ...sticky, runOptions, runtimeFolder }, async (third) => {
        const [, , , last] = await whenAllServe(third, 4);
        assert.ok(last);
        // Nobody waits for a slot any more.
        process.kill(last.pid, 'SIGSTOP');
        await until('others serve its clients', async () => {
          const answers = await Promise.race([
            homes(port),
            new Promise((resolve) => setTimeout(resolve, 500)),
          ]);
          return Array.isArray(answers);
        });
        process.kill(last.pid, 'SIGCONT');
      });
      await first.kill();
      await second.kill();
    });
  });

  it('need slots', async () => {
    const alone = await Supervised.start({ ...sticky, runOptions: ['--sticky', 'address'], waits: false });
    assert.equal(await alone.ended, 2);
    assert.match(alone.stderr, /--sticky needs --slots/);
    await alone.kill();
    const other = await Supervised.start({ ...sticky, runOptions: ['--sticky', 'mood'], waits: false });
    assert.equal(await other.ended, 2);
    assert.match(other.stderr, /Expected address, or cookie/);
    await other.kill();
  });
});

const byCookie = { ...sticky, runOptions: ['--slots', '4', '--sticky', 'cookie:sid'] };
const CLIENTS = Array.from({ length: 24 }, (_, i) => `client-${i}`);

/** @returns the slot that answers a client with this cookie. */
function askAs(client: string | undefined, port: number, agent: Agent | false = false): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = client === undefined ? {} : { cookie: `theme=dark; sid=${client}; lang=en` };
    const asked = http.request({ host: '127.0.0.1', port, agent, headers }, (response) => {
      response.setEncoding('utf8').on('data', (text: string) => resolve(Number(text)));
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

function homesByCookie(port: number): Promise<number[]> {
  return Promise.all(CLIENTS.map((client) => askAs(client, port)));
}

/** A connection on which bytes are sent as one likes. */
class Slow {
  readonly #socket: net.Socket;
  text = '';

  constructor(port: number) {
    this.#socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
    });
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  /** The slot that has answered last. */
  async answer(times = 1): Promise<number> {
    const found = await until('it answers', () => {
      const bodies = [...this.text.matchAll(/\r\n\r\n(\d)/g)];
      return bodies.length >= times && bodies.at(-1);
    });
    return Number(found[1]);
  }

  end(): void {
    this.#socket.destroy();
  }
}

describe('sticky sessions by cookie', () => {
  it('bring each client to one slot, over restarts, and those without one by their address', async () => {
    await withService(byCookie, async (service) => {
      await whenAllServe(service, 4);
      const port = await portOf(service);
      const first = await homesByCookie(port);
      assert.deepEqual([...new Set(first)].sort(), [0, 1, 2, 3]);
      const without = await askAs(undefined, port);
      let isOver = false;
      const failures: unknown[] = [];
      const asking = CLIENTS.map(async (client, i) => {
        while (!isOver) {
          const slot = await askAs(client, port).catch((error: unknown) => error);
          if (slot !== first[i]) failures.push(slot);
          if ((await askAs(undefined, port)) !== without) failures.push('without');
          await pause(20);
        }
      });
      await service.restart();
      isOver = true;
      await Promise.all(asking);
      assert.deepEqual(failures, []);
      assert.deepEqual(await homesByCookie(port), first);
    });
  });

  it('wait for a head that comes in pieces, but not for ever, and for a client that says nothing', async () => {
    await withService(byCookie, async (service) => {
      await whenAllServe(service, 4);
      const port = await portOf(service);
      const first = await homesByCookie(port);
      const request = (client: string) => `GET / HTTP/1.1\r\nHost: a\r\nCookie: sid=${client}\r\n\r\n`;
      const inPieces = CLIENTS.map((client) => ({ client, slow: new Slow(port) }));
      const late = new Slow(port);
      late.write('GET / HT');
      for (const { client, slow } of inPieces) slow.write(request(client).slice(0, 30));
      await pause(50);
      for (const { client, slow } of inPieces) slow.write(request(client).slice(30));
      assert.deepEqual(await Promise.all(inPieces.map(({ slow }) => slow.answer())), first);
      await pause(2500);
      late.write('TP/1.1\r\nHost: a\r\n\r\n');
      await late.answer();
      const silent = CLIENTS.map((client) => ({ client, slow: new Slow(port) }));
      await pause(50);
      for (const { client, slow } of silent) slow.write(request(client));
      assert.deepEqual(await Promise.all(silent.map(({ slow }) => slow.answer())), first);
      // Another client's request on the same connection, as a proxy sends it: the next one meets its slot.
      const shared = new Slow(port);
      shared.write(request(CLIENTS[0] ?? ''));
      assert.equal(await shared.answer(), first[0]);
      assert.notEqual(first[0], first.at(-1));
      let times = 1;
      await until('the connection has followed', async () => {
        shared.write(request(CLIENTS.at(-1) ?? ''));
        times += 1;
        return (await shared.answer(times)) === first.at(-1);
      });
      // And over a restart, which finds connections that have said nothing yet.
      const quiet = CLIENTS.map((client) => ({ client, slow: new Slow(port) }));
      await pause(50);
      await service.restart();
      for (const { client, slow } of quiet) slow.write(request(client));
      await Promise.all(quiet.map(({ slow }) => slow.answer()));
      for (const { slow } of [...inPieces, ...silent, ...quiet]) slow.end();
      late.end();
      shared.end();
    });
  });
});

/** A client of Socket.IO that has a connection of its own for each request, and never tries again. */
function socketFrom(localAddress: string, port: number, transports: readonly string[]): Socket {
  // The types want one for browsers; in Node it is passed to node:http.
  const agent = new Agent({ keepAlive: false, localAddress } as object) as unknown as string;
  return io(`http://127.0.0.1:${port}`, {
    transports: [...transports],
    agent,
    forceNew: true,
    reconnection: false,
  });
}

/** Asks some times which slot answers. @returns the answers, or the reason why it ended. */
function ask(socket: Socket, times: number): Promise<number[] | string> {
  return new Promise((resolve) => {
    const answers: number[] = [];
    const next = () => socket.emit('which', answer);
    const answer = (slot: number) => {
      answers.push(slot);
      if (answers.length < times) next();
      else resolve(answers);
    };
    // What Node's stand-in for XMLHttpRequest was answered.
    const why = (details: unknown) =>
      (details as { context?: { responseText?: string } } | undefined)?.context?.responseText ?? '';
    socket.on('connect_error', (error) => resolve(`${error.message} ${why(error)}`));
    socket.on('disconnect', (reason, details) => resolve(`${reason} ${why(details)}`));
    if (socket.connected) next();
    else socket.on('connect', next);
  });
}

/** What a client says at its end goes over another connection, for which the service must still be there. */
async function goodbye(sockets: readonly Socket[], service: Supervised): Promise<void> {
  for (const socket of sockets) socket.disconnect();
  await until('all have gone', async () => {
    const { generations } = await service.status();
    return generations.every(({ connections }) => connections === 0);
  });
}

describe('Socket.IO over several slots', () => {
  const service = { command: [fixture('slot-socket.io.mjs')] };
  const clients = ADDRESSES.slice(0, 16);

  it('works by polling and by upgrade, with sticky sessions, and WebSockets live on in their slot', async () => {
    await withService({ ...service, runOptions: sticky.runOptions }, async (running) => {
      await whenAllServe(running, 4);
      const port = await portOf(running);
      const sockets = clients.map((address, i) =>
        socketFrom(address, port, i % 2 === 0 ? ['polling'] : ['polling', 'websocket']),
      );
      const answers = await Promise.all(sockets.map((socket) => ask(socket, 10)));
      for (const one of answers) assert.ok(Array.isArray(one) && new Set(one).size === 1, String(one));
      const upgraded = sockets.filter((_, i) => i % 2 === 1);
      await until('all that may have a WebSocket', () =>
        upgraded.every(({ io: { engine } }) => engine.transport.name === 'websocket'),
      );
      await running.restart();
      const after = await Promise.all(upgraded.map((socket) => ask(socket, 1)));
      assert.deepEqual(
        after.flat(),
        answers.filter((_, i) => i % 2 === 1).map((one) => one[0]),
      );
      // Polling sessions ended with their generations; their clients find their slots again.
      const again = clients.map((address) => socketFrom(address, port, ['polling']));
      const found = await Promise.all(again.map((socket) => ask(socket, 3)));
      assert.deepEqual(
        found.map((one) => one[0]),
        answers.map((one) => one[0]),
      );
      await goodbye([...sockets, ...again], running);
    });
  });

  it('does not work by polling without', async () => {
    await withService(
      { ...service, runOptions: ['--slots', '4', '--drain-timeout', '0s'] },
      async (running) => {
        await whenAllServe(running, 4);
        const port = await portOf(running);
        const sockets = clients.map((address) => socketFrom(address, port, ['polling']));
        const answers = await Promise.all(sockets.map((socket) => ask(socket, 20)));
        assert.ok(
          answers.some((one) => typeof one === 'string' && one.includes('Session ID unknown')),
          JSON.stringify(answers),
        );
        // Sessions that their clients have lost are not waited for.
        for (const socket of sockets) socket.disconnect();
      },
    );
  });
});

/** Waits until each client meets one slot only, over the connection that it keeps and over new ones. */
async function settled(crowd: Crowd, port: number): Promise<number[]> {
  const slots = await homes(port);
  await until('every client meets its slot only', async () => {
    crowd.anew();
    await until('each has asked', () => crowd.met.every((met) => met.length > 0));
    await new Promise((resolve) => setTimeout(resolve, 200));
    return crowd.met.every((met, i) => met.length === 1 && met[0] === slots[i]);
  });
  return slots;
}

function same(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.every((value, i) => value === other[i]);
}
