import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import http, { Agent } from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { RawClient } from './raw-client.js';
import { portOf, whenAllServe } from './slots-of.js';
import { fixture, type Supervised, until, withFolder, within, withService } from './supervised.js';

const RESTART = {
  type: 'restart',
  wait: true,
  ifBusy: 'wait',
  allowFewerListeners: false,
  untilConfirmed: false,
  whenQuiet: null,
} as const;

/** @returns which generation answers, or why none did. */
function ask(port: number, path = '/', agent: Agent | false = false): Promise<string> {
  return new Promise((resolve) => {
    const request = http.request({ host: '127.0.0.1', port, path, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
      response.on('error', (error) => resolve(error.message));
    });
    request.on('error', (error) => resolve(error.message));
    request.end();
  });
}

/** So many requests at once. */
function askAll(count: number, ...how: Parameters<typeof ask>): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, () => ask(...how)));
}

function inFlight(service: Supervised, count: number): Promise<unknown> {
  return until(`${count} requests are in flight`, async () => (await service.current()).inFlight === count);
}

/** Connections that clients keep, and how many of them the other side has closed. */
class Kept {
  readonly agent: Agent;
  closed = 0;
  #isOver = false;

  constructor(count: number) {
    this.agent = new Agent({ keepAlive: true, maxSockets: count });
    const known = new WeakSet<object>();
    this.agent.on('free', (socket) => {
      if (known.has(socket)) return;
      known.add(socket);
      socket.once('close', () => {
        if (!this.#isOver) this.closed += 1;
      });
    });
  }

  end(): void {
    this.#isOver = true;
    this.agent.destroy();
  }
}

describe('an undo', () => {
  const kinds = [
    { what: 'no state', env: { BUSY_MS: '40' } },
    { what: 'a map, and a loop that is busy', env: { KEEPS: 'map', BUSY_MS: '40' } },
    { what: 'state that takes a while to be restored', env: { KEEPS: 'state', RESTORE_MS: '100' } },
    // Longer than a successor may take to answer.
    { what: 'state that takes long to be restored', env: { KEEPS: 'state', RESTORE_MS: '2600' } },
  ];
  for (const { what, env } of kinds) {
    it(`of a service with ${what} loses nothing of the successor, and connections go back`, async () => {
      await withService({ command: [fixture('overlaps.mjs')], env }, async (service) => {
        const { port } = await service.target();
        await service.restart();
        const kept = new Kept(20);
        const many = Array.from({ length: 20 }, (_, i) => ask(port, `/?set=${i}`, kept.agent));
        assert.deepEqual(new Set(await Promise.all(many)), new Set(['2']));
        const slow = askAll(5, port, `/?ms=${1500 + Number(env.RESTORE_MS ?? 0)}`);
        await inFlight(service, 5);
        const { code, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 0, stderr);
        assert.deepEqual(await slow, ['2', '2', '2', '2', '2']);
        assert.deepEqual(new Set(await askAll(20, port, '/', kept.agent)), new Set(['1']));
        assert.equal(kept.closed, 0);
        kept.end();
      });
    });
  }

  for (const startMs of [0, 1500]) {
    it(`is over before a restart begins that is asked for meanwhile, of a service that starts in ${startMs} ms`, async () => {
      const env = { START_MS: String(startMs) };
      await withService({ command: [fixture('overlaps.mjs')], env }, async (service) => {
        const { port } = await service.target();
        const first = await service.current();
        await service.restart();
        const slow = askAll(5, port, '/?ms=4000');
        await inFlight(service, 5);
        // It learns of the undo only later.
        process.kill(first.pid, 'SIGSTOP');
        const rollback = service.asks({ type: 'rollback' });
        await pause(400);
        const restart = service.restart();
        await pause(600);
        process.kill(first.pid, 'SIGCONT');
        assert.deepEqual(await rollback, { generation: 1, how: 'resumed' });
        const { predecessor } = await restart;
        assert.equal(predecessor, 1);
        assert.deepEqual(await slow, ['2', '2', '2', '2', '2']);
        await service.current();
        assert.deepEqual(new Set(await askAll(20, port)), new Set(['3']));
      });
    });
  }

  it('that a generation has asked for is over before that one is replaced', async () => {
    await withFolder(async (folder) => {
      const FAILS_WHEN = path.join(folder, 'fails');
      await withService({ command: [fixture('overlaps.mjs')], env: { FAILS_WHEN } }, async (service) => {
        const { port } = await service.target();
        const first = await service.current();
        await service.restart();
        process.kill(first.pid, 'SIGSTOP');
        writeFileSync(FAILS_WHEN, '');
        await service.writes(/no broker/);
        const { code, message } = await service.failingRestart();
        assert.equal(code, 'MOULT_RESTART_IN_PROGRESS', message);
        process.kill(first.pid, 'SIGCONT');
        await until('the first serves again', async () => (await ask(port)) === '1');
        rmSync(FAILS_WHEN);
        const { predecessor } = await service.restart();
        assert.equal(predecessor, 1);
      });
    });
  });
});

describe('an undo whose successor is gone while its predecessor restores', () => {
  it('is over before a restart begins', async () => {
    const env = { KEEPS: 'state', RESTORE_MS: '4000' };
    await withService({ command: [fixture('overlaps.mjs')], env }, async (service) => {
      const { port } = await service.target();
      await service.restart();
      const rollback = service.moult('rollback', service.name);
      await until('the second is gone', async () => (await service.status()).generations.length === 1);
      const { predecessor } = await service.restart();
      assert.equal(predecessor, 1);
      assert.equal((await rollback).code, 0);
      assert.deepEqual(new Set(await askAll(40, port)), new Set(['3']));
    });
  });
});

describe('an undo that comes while a generation is told to expect its successor', () => {
  it('leaves one generation serving', async () => {
    const env = { START_MS: '1500' };
    await withService({ command: [fixture('overlaps.mjs')], env }, async (service) => {
      const { port } = await service.target();
      await service.restart();
      const second = await service.current();
      process.kill(second.pid, 'SIGSTOP');
      const restart = assert.rejects(service.asks(RESTART), { code: 'MOULT_RESTART_IN_PROGRESS' });
      await pause(1500);
      const rollback = service.asks({ type: 'rollback' });
      await pause(1200);
      // What it answers is read in one go.
      process.kill(service.pid, 'SIGSTOP');
      process.kill(second.pid, 'SIGCONT');
      await pause(150);
      process.kill(service.pid, 'SIGCONT');
      await restart;
      assert.deepEqual(await rollback, { generation: 1, how: 'resumed' });
      assert.deepEqual(new Set(await askAll(40, port)), new Set(['1']));
    });
  });
});

describe('the last answer of a pipelining client, at a stop', () => {
  it('goes out before the deadline of the drain', async () => {
    const options = { command: [fixture('overlaps.mjs')], runOptions: ['--drain-timeout', '2500ms'] };
    await withService(options, async (service) => {
      const client = await RawClient.connect(await service.target());
      const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`;
      client.write(get('/?ms=800'));
      await pause(50);
      client.write(get('/?ms=800'));
      await pause(200);
      service.process.kill('SIGTERM');
      await client.response(1);
      client.write(get('/'));
      await client.response(2);
      client.close();
      // By itself: a second signal would end it at once.
      await within('it has drained', service.ended);
    });
  });
});

describe('a connection whose response outlasts more than one handover', () => {
  it('is passed on by each generation that comes in between', async () => {
    const options = { command: [fixture('overlaps.mjs')], runOptions: ['--probation', '300ms'] };
    await withService(options, async (service) => {
      const { port } = await service.target();
      const kept = new Kept(1);
      const slow = ask(port, '/?ms=4000', kept.agent);
      await inFlight(service, 1);
      for (const generation of [2, 3]) {
        await service.restart('--wait=confirmed');
        assert.equal(await ask(port), String(generation));
      }
      assert.equal(await slow, '1');
      await until('it has arrived', async () => (await ask(port, '/', kept.agent)) === '3');
      assert.equal(kept.closed, 0);
      kept.end();
    });
  });

  it('is passed on by a slot that is taken away meanwhile', async () => {
    const options = { command: [fixture('overlaps.mjs')], runOptions: ['--slots', '2'] };
    await withService(options, async (service) => {
      await whenAllServe(service, 2);
      const port = await portOf(service);
      const kept = new Kept(20);
      const slow = askAll(20, port, '/?ms=4000', kept.agent);
      await until('all are in flight', async () => {
        const { generations } = await service.status();
        return generations.reduce((sum, { inFlight = 0 }) => sum + inFlight, 0) === 20;
      });
      await service.restart();
      const { code, stderr } = await service.moult('scale', '1', service.name, '--drop-state');
      assert.equal(code, 0, stderr);
      assert.ok((await slow).every((answer) => /^\d+$/.test(answer)));
      await until('the slot is gone', async () => (await service.status()).generations.length === 1);
      assert.equal(kept.closed, 0);
      assert.ok((await askAll(20, port, '/', kept.agent)).every((answer) => /^\d+$/.test(answer)));
      kept.end();
    });
  });
});
