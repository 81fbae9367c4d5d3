import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { before, describe } from 'node:test';
import { createServer } from 'node:tls';
import type { Channel } from '#moult/channel/channel.js';
import { Door } from '#moult/channel/door.js';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { movable } from '#moult/library/movable/movable.js';
import { watchTlsSockets } from '#moult/node/tls-sockets.js';
import { selfSigned } from '#moult/tls/search/self-signed.js';
import { tlsMoves } from '#moult/tls/self-test.js';
import { soon, until } from '../../support/events.js';
import { type Fixture, fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { secureSide, WireClient } from '../https-servers.js';
import { type TrackedServer, trackedServer } from '../tracked-server.js';

/** One that speaks HTTP moves with its server; one that is carried as its service has declared. */
type Kind = 'http1' | 'carried';

/** A side of this process, which answers with its name whatever it is sent. */
async function answering(later: Later, kind: Kind, name: string): Promise<TrackedServer> {
  if (kind === 'http1') return secureSide(later, (_request, response) => response.end(name));
  const setUp = (socket: Socket) => void socket.on('data', () => socket.write(name)).on('error', () => {});
  const server = createServer(selfSigned(), setUp);
  movable(server, { save: () => ({}), restore: setUp });
  watchTlsSockets(server);
  return trackedServer(later, server);
}

/** A process at the other end of a channel. */
async function otherSide(
  later: Later,
  program: string,
  how: string,
  kind: Kind,
): Promise<{ child: Fixture; channel: Channel }> {
  const path = join(temporaryFolder(later), 'door.sock');
  let enter: (channel: Channel) => void = () => {};
  const entered = new Promise<Channel>((resolve) => {
    enter = resolve;
  });
  const door = Door.open(path, 'predecessor', (channel) => enter(channel));
  later(() => door.close());
  const child = fixture(later, program, [path, how, kind]);
  const channel = await soon(entered, 'the other side');
  later(() => channel.close());
  return { child, channel };
}

/** Settles when this side sends a message of this type. */
function sends(channel: Channel, type: string): Promise<void> {
  return new Promise((resolve) => {
    const send = channel.send.bind(channel);
    channel.send = (message, ...rest) => {
      send(message, ...rest);
      if (message.type === type) resolve();
    };
  });
}

function hasStopped({ pid }: Fixture): boolean {
  return / T \d+ /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

describe('a predecessor that is killed', () => {
  for (const [kind, how, outcome] of [
    ['http1', 'captured', 'is lost with it: nobody else had it'],
    ['http1', 'without state', 'is lost: it had not left whole'],
    ['http1', 'given', 'goes on at the successor'],
    ['http1', 'destroyed', 'goes on at the successor'],
    ['http1', 'taken back', 'is lost with it: nobody goes on with a state that was used'],
    ['carried', 'captured', 'is lost with it: nobody else had it'],
    ['carried', 'given', 'is lost with it: its service had not saved it'],
    ['carried', 'without state', 'is lost: it had not left whole'],
    ['carried', 'destroyed', 'goes on at the successor'],
    ['carried', 'taken back', 'is lost with it: nobody goes on with a state that was used'],
  ] as const) {
    tidy(`when a TLS connection (${kind}) was ${how}: that ${outcome}`, async (later) => {
      const b = await answering(later, kind, 'successor');
      const { child, channel } = await otherSide(later, 'give-tls.mjs', how, kind);
      const { port, can } = await child.says<{ port: number; can: string }>();
      assert.equal(can, 'yes');
      const client = await WireClient.at(later, connect({ port, host: '127.0.0.1' }));
      await client.asks('predecessor');
      const arrived = sends(channel, 'connections-received');
      new Inflow(channel, b.tracker, () => b.server);
      channel.send({ type: 'confirm' });
      if (how === 'taken back') {
        await soon(arrived, 'the copy that was taken back');
        await client.asks('predecessor');
      }
      await until(() => hasStopped(child), 'its stop');
      child.process.kill('SIGKILL');
      if (outcome === 'goes on at the successor') {
        for (let i = 0; i < 3; i += 1) await client.asks('successor');
        client.raw.destroy();
        await until(() => b.tracker.size === 0, 'no connection');
      } else await soon(client.closed, 'its end');
      assert.equal(b.tracker.size, 0);
      await child.exited;
    });
  }
});

describe('a successor that is killed', () => {
  before(async () => assert.equal(await tlsMoves(), 'yes'));

  for (const [kind, step, message] of [
    ['http1', 'before it acknowledges', 'connections-received'],
    ['http1', 'after it has begun', 'connections-adopted'],
    ['carried', 'before it acknowledges', 'connections-received'],
    ['carried', 'after it has begun', 'connections-adopted'],
  ] as const) {
    const isLost = message === 'connections-adopted';
    tidy(
      `${step} ${isLost ? 'takes its TLS connections along' : 'leaves them where they were'} (${kind})`,
      async (later) => {
        const a = await answering(later, kind, 'first');
        const { child, channel } = await otherSide(later, 'take-tls.mjs', message, kind);
        await child.says();
        const clients = await Promise.all(Array.from({ length: 3 }, () => WireClient.served(later, a)));
        const movers = [{ name: 'raw', min: 1, max: 1 }];
        const taken = () => ({ listener: 'web', movers });
        const outflow = new Outflow(channel, a.tracker, () => 'web', taken);
        channel.closed.then(() => outflow.stop());
        later(() => outflow.stop());
        outflow.start();
        await until(() => hasStopped(child), 'its stop');
        const asked = isLost ? [] : clients.map((client) => client.asks('first'));
        child.process.kill('SIGKILL');
        if (isLost) await Promise.all(clients.map(({ closed }) => soon(closed, 'its end')));
        else await Promise.all(asked);
        assert.equal(outflow.moved, isLost ? 3 : 0);
        assert.equal(a.tracker.size, isLost ? 0 : 3);
        await child.exited;
      },
    );
  }
});
