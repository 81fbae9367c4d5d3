import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { RestartSummary } from '#moult/lifecycle/restart-record.js';
import { freePorts } from '../support/free-ports.js';
import { RawClient } from './raw-client.js';
import { fixture, type Supervised, until, withFolder, withService } from './supervised.js';

const host = '127.0.0.1';

/** What a process of the service answers: its number, and a word. */
async function says(port: number, url = '/'): Promise<[number, string]> {
  const client = await RawClient.connect({ host, port });
  const { body } = await client.get(url, 'Connection: close\r\n');
  client.close();
  const [pid, word = ''] = (body?.toString() ?? '').split(' ');
  return [Number(pid), word];
}

/** A service that listens when it is told, by the number of its process. */
class Told {
  readonly service: Supervised;
  readonly ports: readonly number[];
  readonly #folder: string;

  constructor(service: Supervised, folder: string, ports: readonly number[]) {
    this.service = service;
    this.#folder = folder;
    this.ports = ports;
  }

  /** The process that started last; waits for so many. */
  started(count: number): Promise<number> {
    const all = () => readdirSync(this.#folder).filter((name) => name.endsWith('-started'));
    const known = this.#known;
    return until(`${count} processes have started`, () => {
      const pids = all().map((name) => Number.parseInt(name, 10));
      const fresh = pids.find((pid) => !known.has(pid));
      if (pids.length < count || fresh === undefined) return false;
      known.add(fresh);
      return fresh;
    });
  }

  readonly #known = new Set<number>();

  /** Has a process listen; what came of it. */
  async listen(pid: number, port: number): Promise<string> {
    await writeFile(path.join(this.#folder, `${pid}-listen-${port}`), '');
    return until(`${pid} has tried to listen on ${port}`, () => {
      const names = readdirSync(this.#folder).map((name) => name.split('-'));
      return names.find(
        ([who, word, where]) => who === String(pid) && word !== 'listen' && where === String(port),
      )?.[1];
    });
  }
}

async function withTold(
  runOptions: readonly string[],
  test: (told: Told, ports: { early: number; second: number; other: number }) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const [early = 0, second = 0, other = 0] = await freePorts(3);
    const command = [fixture('told-to-listen.mjs'), folder, String(early)];
    await withService({ command, runOptions }, (service) =>
      test(new Told(service, folder, [early, second, other]), { early, second, other }),
    );
  });
}

function isOver(restart: Promise<RestartSummary>): Promise<boolean> {
  return Promise.race([
    restart.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(resolve, false)),
  ]);
}

describe('what the service of a predecessor opens while it is replaced', () => {
  it('is waited for, where the service had not come to it yet', async () => {
    await withTold(['--probation', '200ms'], async (told, { early, second, other }) => {
      const first = await told.started(1);
      assert.equal(await told.listen(first, second), 'listened');
      const restart = told.service.restart();
      const successor = await told.started(2);
      assert.equal(await told.listen(first, other), 'listened');
      assert.equal(await told.listen(successor, second), 'listened');
      assert.equal(await isOver(restart), false);
      assert.equal(await told.listen(successor, other), 'listened');
      await restart;
      for (const port of [early, second, other]) assert.deepEqual(await says(port), [successor, 'here']);
    });
  });

  it('is held for the successor after its commit, and is the predecessor’s again at an undo', async () => {
    await withTold(['--probation', '20s'], async (told, { early, second, other }) => {
      const first = await told.started(1);
      await told.service.restart();
      const successor = await told.started(2);
      for (const port of [second, other]) assert.equal(await told.listen(first, port), 'listened');
      // Clients wait: nobody listens there that serves.
      const waits = says(second);
      assert.equal(await told.listen(successor, second), 'listened');
      assert.deepEqual(await waits, [successor, 'here']);
      process.kill(successor, 'SIGKILL');
      await told.service.logs(/generation 2 was undone/);
      for (const port of [early, second, other]) assert.deepEqual(await says(port), [first, 'here']);
    });
  });

  it('stays with it until it is closed, where it was opened for a client', async () => {
    await withTold(['--probation', '200ms'], async (told, { early, second, other }) => {
      const first = await told.started(1);
      assert.equal(await told.listen(first, second), 'listened');
      const restart = told.service.restart();
      const successor = await told.started(2);
      assert.deepEqual(await says(early, `/listen/${other}`), [first, 'listened']);
      assert.equal(await told.listen(successor, second), 'listened');
      await restart;
      assert.deepEqual(await says(early), [successor, 'here']);
      assert.deepEqual(await says(other), [first, 'here']);
      assert.deepEqual(await says(other, `/close/${other}`), [first, 'closed']);
      assert.equal(await told.service.alone(), successor);
      await assert.rejects(says(other), { code: 'ECONNREFUSED' });
    });
  });
});
