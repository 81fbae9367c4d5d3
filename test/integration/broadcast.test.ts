import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';
import WebSocket from 'ws';
import { MAX_WAITING_BYTES } from '#moult/broadcast/backlog.js';
import { brokerOf } from '../support/brokers.js';
import { lacksServer, serverFor } from '../support/message-service.js';
import { PACE } from '../support/pace.js';
import { bySocketIo, byWebSocket, Crowd } from './broadcast-clients.js';
import { portOf, serving, whenAllServe } from './slots-of.js';
import { fixture, type Supervised, until, withService } from './supervised.js';

/** `MOULT_RESTARTS=20 npm test -- integration/broadcast` is the proof. */
const isProof = process.env.MOULT_RESTARTS !== undefined;
const ofProof = isProof ? false : 'MOULT_RESTARTS has it';
const CLIENTS = isProof ? 60 : 30;
const pace = isProof ? 1 : PACE;
/** Whether each restart is undone: in the proof, every third one is. */
const RESTARTS = !isProof
  ? [false, true, false]
  : Array.from({ length: Number(process.env.MOULT_RESTARTS) }, (_, i) => i % 3 === 1);

interface Terms {
  readonly file: string;
  readonly env?: Record<string, string>;
  readonly runOptions?: readonly string[];
  readonly restarts?: readonly boolean[];
  /** Several generations may pass on the messages of one sender: those have no common order. */
  readonly isInAnyOrder?: boolean;
  begin(crowd: Crowd, service: Supervised): Promise<void>;
}

/** Restarts a service while a crowd is sent messages all the time, and fails unless each came once to each. */
async function nothingIsLost({
  file,
  env = {},
  runOptions = [],
  restarts = RESTARTS,
  isInAnyOrder = false,
  begin,
}: Terms): Promise<Crowd> {
  const crowd = new Crowd();
  crowd.audience.isInOrder = !isInAnyOrder;
  const options = {
    command: ['node', fixture(file)],
    env,
    // Here the clients share the machine with the service, which may wait for its turn for seconds.
    runOptions: ['--probation', '20s', '--hang-timeout', '30s', ...runOptions],
  };
  await withService(options, async (service) => {
    try {
      await begin(crowd, service);
      for (const isUndone of restarts) {
        await service.restart();
        // Those that are being written to when the others move come a moment later.
        await until('all have moved', async () => (await service.current()).connections === CLIENTS);
        if (!isUndone) continue;
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 0, stderr);
        // It serves again before all have come back to it.
        await until('all are back', async () => (await service.current()).connections === CLIENTS);
      }
      await crowd.finish();
      assert.ok(crowd.said.length > 100, `${crowd.said.length} said`);
    } finally {
      crowd.close();
    }
  });
  return crowd;
}

/** Rolls and scales a service of three slots while a crowd is sent messages all the time, and fails unless each came once. */
async function nothingIsLostInSlots({ file, env = {}, begin }: Terms): Promise<void> {
  const crowd = new Crowd();
  const options = {
    command: ['node', fixture(file)],
    env,
    runOptions: ['--slots', '3', '--probation', '1s'],
  };
  await withService(options, async (service) => {
    try {
      await whenAllServe(service, 3);
      await begin(crowd, service);
      for (let roll = 0; roll < (isProof ? 2 : 1); roll += 1) {
        const { code, stderr } = await service.moult('restart', service.name);
        assert.equal(code, 0, stderr);
      }
      for (const slots of [4, 2]) {
        const { code, stderr } = await service.moult('scale', String(slots), service.name);
        assert.equal(code, 0, stderr);
      }
      await crowd.finish();
      assert.ok(crowd.said.length > 100, `${crowd.said.length} said`);
    } finally {
      crowd.close();
    }
  });
}

describe('what is broadcast while clients move', () => {
  it('comes to every WebSocket of a chat once, over restarts and undos', async () => {
    await nothingIsLost({
      file: 'chat.mjs',
      begin: async (crowd, service) => {
        await crowd.connect(byWebSocket, (await service.target()).port, CLIENTS);
        crowd.talk(6, 20 * pace);
      },
    });
  });

  // That one hears of its own generations and of others over Redis, below.
  it('comes to every client of a room of Socket.IO once', { skip: ofProof }, async () => {
    await nothingIsLost({
      file: 'socket.io-rooms.mjs',
      begin: async (crowd, service) => {
        await crowd.connect(bySocketIo, (await service.target()).port, CLIENTS);
        crowd.talk(6, 20 * pace);
      },
    });
  });

  it('comes to every WebSocket once, also when a successor that stands still has much more to read than may wait', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'moult-flood-'));
    const [clients, count, bytes] = [36, 40, 512 * 1024];
    assert.ok(count * bytes > MAX_WAITING_BYTES);
    const crowd = new Crowd();
    const options = {
      command: ['node', fixture('floods.mjs')],
      env: { COUNT: String(count), BYTES: String(bytes), FLOODED: path.join(folder, 'flooded') },
      // The clients have to read it all before the drain ends.
      runOptions: ['--probation', '1s', '--drain-timeout', '5m'],
    };
    try {
      await withService(options, async (service) => {
        await crowd.connect(byWebSocket, (await service.target()).port, clients);
        const { code, stderr } = await service.moult('restart', service.name, '--wait', 'drained');
        assert.equal(code, 0, stderr);
        await crowd.audience.hadOnce(Array.from({ length: count }, (_, i) => `f ${i}`));
      });
    } finally {
      crowd.close();
      await rm(folder, { recursive: true });
    }
  });

  it('has a restart refused before commit where the successor does not keep up with it, and is lost by nobody', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'moult-behind-'));
    const crowd = new Crowd();
    const options = {
      command: ['node', fixture('slow-to-read.mjs')],
      env: { BEGUN: path.join(folder, 'begun'), SLOW: path.join(folder, 'slow') },
      runOptions: ['--wait-ready', '--busy-timeout', '1s', '--probation', '1s'],
    };
    try {
      await withService(options, async (service) => {
        const { port } = await service.target();
        await crowd.connect(byWebSocket, port, 6);
        await fetch(`http://127.0.0.1:${port}/begin`);
        const refused = await service.moult('restart', service.name, '--json');
        assert.notEqual(refused.code, 0, refused.stdout);
        const events = refused.stdout.trim().split('\n');
        const { ok, error } = JSON.parse(events.at(-1) ?? '{}');
        assert.deepEqual([ok, error.serving, error.code], [false, 'predecessor', 'MOULT_BROADCAST_BEHIND']);
        assert.match(error.message, /within 1000 ms; [1-9]\d{5,} bytes wait for it/);
        const count = Number(await (await fetch(`http://127.0.0.1:${port}/count`)).text());
        const sent = Array.from({ length: count }, (_, i) => `n ${i}`);
        await crowd.audience.hadOnce(sent);
        await service.restart();
        await crowd.audience.hadOnce(sent);
      });
    } finally {
      crowd.close();
      await rm(folder, { recursive: true });
    }
  });

  it('comes to every WebSocket once in three slots, over rolls and while slots come and go', async () => {
    await nothingIsLostInSlots({
      file: 'chat.mjs',
      begin: async (crowd, service) => {
        await crowd.connect(byWebSocket, await portOf(service), CLIENTS);
        crowd.talk(6, 20 * pace);
      },
    });
  });
});

const broker = await brokerOf('redis-streams');
const skip = lacksServer(broker);

describe('what comes over Redis while clients move', { skip }, () => {
  const server = serverFor(broker, skip);
  let redis: Redis;
  before(() => {
    if (skip === false) redis = new Redis(server().url);
  });
  after(() => redis?.disconnect());

  it('comes to every WebSocket once', async () => {
    await nothingIsLost({
      file: 'redis-numbers.mjs',
      env: { REDIS_URL: server().url },
      begin: async (crowd, service) => {
        await crowd.connect(byWebSocket, (await service.target()).port, CLIENTS);
        crowd.hearFrom('p', 4 * pace, (text) => redis.publish('numbers', text));
      },
    });
  });

  it('comes to every WebSocket once in three slots, over rolls and while slots come and go', {
    skip: ofProof,
  }, async () => {
    await nothingIsLostInSlots({
      file: 'redis-numbers.mjs',
      env: { REDIS_URL: server().url },
      begin: async (crowd, service) => {
        await crowd.connect(byWebSocket, await portOf(service), CLIENTS);
        crowd.hearFrom('p', 4 * pace, (text) => redis.publish('numbers', text));
      },
    });
  });

  it('comes once to every WebSocket of the others when a slot is killed while another is replaced', async () => {
    const options = {
      command: ['node', fixture('redis-numbers.mjs')],
      env: { REDIS_URL: server().url },
      runOptions: ['--slots', '3', '--probation', '1s'],
    };
    await withService(options, async (service) => {
      await whenAllServe(service, 3);
      const port = await portOf(service);
      const sockets: { ws: WebSocket; got: number[]; acceptedBy: () => string }[] = [];
      const connect = () => {
        const ws = new WebSocket(`ws://127.0.0.1:${port}/`);
        const got: number[] = [];
        let pid = '';
        ws.on('upgrade', ({ headers }) => {
          pid = String(headers['x-process']);
        });
        ws.on('message', (data) => got.push(Number(String(data).split(' ')[1])));
        ws.on('error', () => {});
        sockets.push({ ws, got, acceptedBy: () => pid });
        return once(ws, 'open');
      };
      const clientsOf = (pid: number | undefined) =>
        sockets.filter(({ acceptedBy }) => acceptedBy() === String(pid)).length;
      const victim = (await serving(service)).at(-1);
      // The kernel gives connections to whichever slot is awake: there are to be some on this one, and on others.
      await until('clients of the slot that is killed, and of others', async () => {
        await Promise.all(Array.from({ length: CLIENTS }, connect));
        const its = clientsOf(victim?.pid);
        return its > 0 && its < sockets.length;
      });
      let published = 0;
      const publishing = setInterval(() => {
        void redis.publish('numbers', `p ${published}`);
        published += 1;
      }, 4);
      try {
        const roll = service.moult('restart', service.name);
        await until('a successor is there', async () => (await service.status()).generations.length > 3);
        assert.ok(victim);
        process.kill(victim.pid, 'SIGKILL');
        await roll;
        await whenAllServe(service, 3);
      } finally {
        clearInterval(publishing);
      }
      const open = sockets.filter(({ ws }) => ws.readyState === WebSocket.OPEN);
      assert.ok(
        open.length > 0 && open.length < sockets.length,
        `${open.length} of ${sockets.length} are open`,
      );
      const has = ({ got }: { got: number[] }) => got.at(-1) === published - 1;
      await until('all that live have the last', () => open.every(has), 5000).catch(() => {});
      for (const { got } of open) {
        const wanted = Array.from({ length: published - (got[0] ?? 0) }, (_, i) => (got[0] ?? 0) + i);
        assert.deepEqual(got, wanted);
      }
      for (const { ws } of sockets) ws.terminate();
    });
  });

  it('comes to every client of a room of Socket.IO once, from its generations and from other servers', async () => {
    const other = new Server();
    const subscriber = redis.duplicate();
    other.adapter(createAdapter(redis, subscriber));
    try {
      await nothingIsLost({
        file: 'socket.io-rooms.mjs',
        env: { REDIS_URL: server().url },
        begin: async (crowd, service) => {
          await crowd.connect(bySocketIo, (await service.target()).port, CLIENTS);
          crowd.talk(4, 25 * pace);
          crowd.hearFrom('o', 8 * pace, (text) => other.to('all').emit('text', text));
        },
      });
    } finally {
      subscriber.disconnect();
    }
  });
});

const nats = await brokerOf('nats');
const skipNats = lacksServer(nats);

describe('what comes over NATS while clients move', { skip: skipNats }, () => {
  const server = serverFor(nats, skipNats);

  it('comes to every WebSocket once', async () => {
    const connection = await connect({ servers: server().url });
    try {
      await nothingIsLost({
        file: 'nats-numbers.mjs',
        env: { NATS_URL: server().url },
        isInAnyOrder: true,
        begin: async (crowd, service) => {
          await crowd.connect(byWebSocket, (await service.target()).port, CLIENTS);
          crowd.hearFrom('p', 4 * pace, (text) => connection.publish('numbers', text));
        },
      });
    } finally {
      await connection.close();
    }
  });
});
