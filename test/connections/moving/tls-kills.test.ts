import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { before, describe } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Door } from '#moult/channel/door.js';
import { Inflow } from '#moult/connections/moving/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { tlsMoves } from '#moult/tls/self-test.js';
import { soon, until } from '../../support/events.js';
import { type Fixture, fixture } from '../../support/fixture.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { secureSide, WireClient } from '../https-servers.js';

/** A process at the other end of a channel. */
async function otherSide(
  later: Later,
  program: string,
  how: string,
): Promise<{ child: Fixture; channel: Channel }> {
  const path = join(temporaryFolder(later), 'door.sock');
  let enter: (channel: Channel) => void = () => {};
  const entered = new Promise<Channel>((resolve) => {
    enter = resolve;
  });
  const door = Door.open(path, 'predecessor', (channel) => enter(channel));
  later(() => door.close());
  const child = fixture(later, program, [path, how]);
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
  for (const [how, outcome] of [
    ['captured', 'is lost with it: nobody else had it'],
    ['without state', 'is lost: it had not left whole'],
    ['given', 'goes on at the successor'],
    ['destroyed', 'goes on at the successor'],
    ['taken back', 'is lost with it: nobody goes on with a state that was used'],
  ] as const) {
    tidy(`when a TLS connection was ${how}: that ${outcome}`, async (later) => {
      const b = await secureSide(later, (_request, response) => response.end('successor'));
      const { child, channel } = await otherSide(later, 'give-tls.mjs', how);
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

  for (const [step, message] of [
    ['before it acknowledges', 'connections-received'],
    ['after it has begun', 'connections-adopted'],
  ] as const) {
    const isLost = message === 'connections-adopted';
    tidy(
      `${step} ${isLost ? 'takes its TLS connections along' : 'leaves them where they were'}`,
      async (later) => {
        const a = await secureSide(later, (_request, response) => response.end('first'));
        const { child, channel } = await otherSide(later, 'take-tls.mjs', message);
        await child.says();
        const clients = await Promise.all(Array.from({ length: 3 }, () => WireClient.served(later, a)));
        const outflow = new Outflow(channel, a.tracker, () => 'web');
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
