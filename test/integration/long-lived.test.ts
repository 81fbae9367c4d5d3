import assert from 'node:assert/strict';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { PACE } from '../support/pace.js';
import { fixture, root, runNode, until, withFolder, withService } from './supervised.js';

interface Found {
  readonly answered: number;
  readonly pushed: number;
  readonly moved: number;
  readonly inTheMiddle: number;
  /** Records that connections over TLS have sealed after a move. */
  readonly sealed?: number;
  readonly problems: readonly string[];
}

/** The same as the slow proof, proofs/long-lived.mjs, with fewer of everything: nothing is lost, and what was moved. */
async function prove(service: string, restarts: number, clients: number, ...more: string[]): Promise<Found> {
  const script = path.join(root, 'proofs/long-lived.mjs');
  // Of lines some have to be in the middle of one.
  const thinkMs = service === 'lines' ? 20 : 20 * PACE;
  const few = ['--restarts', String(restarts), '--clients', String(clients), '--think-ms', String(thinkMs)];
  const args = [script, '--json', '--node', process.execPath, '--service', service, ...few, ...more];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, stderr } = await runNode(args, env);
  assert.equal(stderr, '');
  const [found] = JSON.parse(stdout) as Found[];
  assert.ok(found);
  assert.deepEqual(found.problems, []);
  assert.ok(found.moved > clients, 'most of them moved, more than once');
  assert.ok(found.pushed > clients);
  return found;
}

describe('restarts under clients that stay connected', () => {
  for (const service of ['websockets', 'socket.io', 'lines', 'events']) {
    it(`lose, double and reorder nothing of ${service}, and close no connection`, async () => {
      const { answered, inTheMiddle } = await prove(service, 3, 36);
      if (service !== 'events') assert.ok(answered > 36 * 10);
      if (service === 'lines') assert.ok(inTheMiddle > 0, 'some moved in the middle of a line');
    });
  }

  // The other ways to attach one, and lines over TLS: node proofs/long-lived.mjs.
  for (const service of ['fastify-websocket']) {
    it(`lose, double and reorder nothing of ${service}, and close no connection`, async () => {
      await prove(service, 2, 12);
    });
  }

  for (const service of ['websockets']) {
    it(`lose, double and reorder nothing of ${service} over TLS, and seal no record twice`, async () => {
      const { sealed } = await prove(service, 2, 12, '--secure');
      assert.ok((sealed ?? 0) > 100);
    });
  }
});

interface Talker {
  readonly problems: readonly string[];
  readonly answered: number;
  run(): Promise<void>;
  finish(running: Promise<void>): Promise<void>;
}

/** What the slow proof speaks with. */
async function speech(): Promise<{
  Talker: new (id: number, kind: string, make: unknown, target: { port: number }, thinkMs: number) => Talker;
  transports: Record<string, Record<string, unknown>>;
}> {
  const load = (name: string) => import(path.join(root, 'proofs/long-lived', name));
  return { ...(await load('talker.mjs')), ...(await load('transports.mjs')) };
}

describe('a restart that is undone under clients that stay connected', () => {
  for (const name of ['websockets', 'socket.io']) {
    it(`brings those of ${name} back, twice; they notice nothing`, async () => {
      const { Talker, transports } = await speech();
      const runOptions = ['--probation', '1h', '--drain-timeout', '30s'];
      await withService({ command: [fixture(`${name}.mjs`)], runOptions }, async (service) => {
        const { port } = await service.target();
        const kinds = Object.entries(transports[name] ?? {});
        assert.ok(kinds.length > 0);
        const talkers = kinds.map(([kind, make], id) => new Talker(id, kind, make, { port }, 20));
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
        const { pid } = await service.current();
        for (let i = 0; i < 2; i += 1) {
          // One in the middle of a message follows when that is there, after the summary.
          const { moved, draining } = await service.restart();
          assert.equal(moved + draining, talkers.length);
          const ofSuccessor = async () => {
            const { generations } = await service.status();
            return generations.find(({ state }) => state === 'serving')?.connections;
          };
          await until('all have moved', async () => (await ofSuccessor()) === talkers.length);
          await goOn();
          const { code, stdout } = await service.moult('rollback', service.name, '--json');
          assert.equal(code, 0, stdout);
          assert.match(stdout, /"how":"resumed"/);
          await goOn();
          assert.equal((await service.current()).pid, pid);
        }
        await Promise.all(talkers.map((talker, i) => talker.finish(running[i] as Promise<void>)));
        assert.deepEqual(
          talkers.flatMap(({ problems }) => problems),
          [],
        );
      });
    });
  }
});

describe('a service that has moult in its own folder', () => {
  it('is found by the moult that runs it, which is another copy', async () => {
    await withFolder(async (folder) => {
      const copy = path.join(folder, 'node_modules/moult');
      await mkdir(copy, { recursive: true });
      await cp(path.join(root, 'dist'), path.join(copy, 'dist'), { recursive: true });
      await cp(path.join(root, 'package.json'), path.join(copy, 'package.json'));
      for (const name of ['croner', 'koffi', 'valibot']) {
        await symlink(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
      }
      for (const name of ['lines.mjs', 'numbered.mjs', 'secured.mjs']) {
        const text = await readFile(fixture(name), 'utf8');
        await writeFile(path.join(folder, name), text.replace('../../../dist/index.js', 'moult'));
      }
      const command = [path.join(folder, 'lines.mjs')];
      await withService({ command, runOptions: ['--probation', '100ms'] }, async (service) => {
        const { host, port } = await service.target();
        const socket = connect({ host, port });
        let text = '';
        socket.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        // What is sent to client 0 without being asked counts on in the successor.
        socket.write('0\n');
        await until('it is known', () => text.includes('p 0'));
        const summary = await service.restart();
        assert.equal(summary.moved, 1);
        // With nothing left its predecessor ends, long before its drain is over.
        await service.alone();
        const seen = text.split('\n').length;
        await until('it is sent more', () => text.split('\n').length > seen + 1);
        const pushes = text.trim().split('\n');
        assert.deepEqual(
          pushes,
          pushes.map((_, i) => `p ${i}`),
        );
        socket.destroy();
      });
    });
  });
});
