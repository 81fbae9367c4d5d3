import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { freePorts } from '../support/free-ports.js';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, pointAt, type Supervised, until, withFolder, withService } from './supervised.js';

const plain = { command: [fixture('threads.mjs')] };

/** Who answered. */
interface Answerer {
  readonly pid: number;
  readonly thread: string;
}

/** Connections that are kept alive, each asked when it is told to. */
class Kept {
  readonly #agents: http.Agent[];
  readonly #port: number;

  constructor(port: number, count: number) {
    this.#port = port;
    this.#agents = Array.from({ length: count }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  }

  /** Asks on each of them; every answer must come on the connection that was there. */
  async ask(isFirst = false): Promise<Answerer[]> {
    return Promise.all(
      this.#agents.map(async (agent) => {
        const { answerer, isReused } = await answererOf({ port: this.#port, agent });
        assert.equal(isReused, !isFirst, 'the connection is the one that was there');
        return answerer;
      }),
    );
  }

  close(): void {
    for (const agent of this.#agents) agent.destroy();
  }
}

function answererOf(options: http.RequestOptions): Promise<{ answerer: Answerer; isReused: boolean }> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', path: '/', ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => {
        const { generation } = JSON.parse(body) as { generation: string };
        const answerer = { pid: Number(generation), thread: String(response.headers['x-thread']) };
        resolve({ answerer, isReused: request.reusedSocket });
      });
    });
    request.on('error', reject);
  });
}

async function portOf(service: Supervised): Promise<number> {
  return until('a thread has said where it listens', async () => {
    const { listeners } = await service.current();
    return (listeners?.[0]?.address as { port?: number } | undefined)?.port;
  });
}

/** Waits until so many threads answer. */
async function threadsOf(service: Supervised, count: number): Promise<Set<string>> {
  const port = await portOf(service);
  const { pid } = await service.current();
  const threads = new Set<string>();
  await until(`${count} threads answer`, async () => {
    const { answerer } = await answererOf({ port, agent: false });
    if (answerer.pid === pid) threads.add(answerer.thread);
    return threads.size >= count;
  });
  return threads;
}

/** Has one of the threads end by itself, and waits for the one that comes in its place. */
async function endOneOf(threads: Set<string>, port: number): Promise<void> {
  // What a thread had accepted in the turn in which it ended is cut with it.
  const answer = (path: string) => answererOf({ port, agent: false, path }).catch(() => undefined);
  await answer('/crash');
  await until('a new thread answers', async () => {
    const one = await answer('/');
    return one !== undefined && !threads.has(one.answerer.thread);
  });
}

describe('a service that listens in worker threads', () => {
  it('is replaced again and again under load, and loses nothing', async () => {
    await withService(plain, async (service) => {
      await threadsOf(service, 4);
      const running = strictLoad({ host: '127.0.0.1', port: await portOf(service) });
      for (let n = 0; n < 3; n += 1) {
        await service.restart();
        await threadsOf(service, 4);
      }
      const { redials, toldToClose } = running.snapshot().total;
      assert.deepEqual({ redials, toldToClose }, { redials: 0, toldToClose: 0 }, 'every connection moved');
      await nothingLost(running);
      await service.alone();
    });
  });

  it('spreads the connections over the threads of the successor', async () => {
    await withService(plain, async (service) => {
      await threadsOf(service, 4);
      const kept = new Kept(await portOf(service), 40);
      try {
        await kept.ask(true);
        const { facts } = await restarted(service);
        assert.equal(facts.moved, 40);
        const { pid } = await service.current();
        const answers = await kept.ask();
        assert.ok(answers.every((one) => one.pid === pid));
        const byThread = countBy(answers.map(({ thread }) => thread));
        assert.equal(byThread.length, 4, 'every thread has some');
        assert.ok(Math.min(...byThread) >= 5, `they lie as ${byThread}`);
      } finally {
        kept.close();
      }
    });
  });

  it('takes everything back when its successor dies within probation, and when it is told to', async () => {
    await withService({ ...plain, runOptions: ['--probation', '30s'] }, async (service) => {
      await threadsOf(service, 4);
      const { pid: first } = await service.current();
      const kept = new Kept(await portOf(service), 12);
      try {
        await kept.ask(true);
        await service.restart();
        const { pid: second } = await service.current();
        assert.notEqual(second, first);
        assert.ok((await kept.ask()).every(({ pid }) => pid === second));
        const running = strictLoad({ host: '127.0.0.1', port: await portOf(service) });
        assert.equal((await service.moult('rollback', service.name)).code, 0);
        await until('the predecessor has them all again', async () =>
          (await kept.ask()).every(({ pid }) => pid === first),
        );
        await threadsOf(service, 4);
        await nothingLost(running);
        await service.restart();
        const { pid: third } = await service.current();
        process.kill(third, 'SIGKILL');
        await until('the predecessor serves', async () => {
          const { generations } = await service.status();
          return generations.some(({ pid, state }) => pid === first && state === 'serving');
        });
        await until('nothing is left of the other', async () => (await service.alone()) === first);
        await threadsOf(service, 4);
      } finally {
        kept.close();
      }
    });
  });

  it('does not wait for a thread that hangs, and cuts nothing of it that comes back in time', async () => {
    await withService(plain, async (service) => {
      await threadsOf(service, 4);
      const port = await portOf(service);
      const { pid: first } = await service.current();
      const hanging = answererOf({ port, agent: false, path: '/hang/15000' }).then(
        ({ answerer }) => answerer.pid,
        String,
      );
      let isOver = false;
      hanging.then(() => {
        isOver = true;
      });
      await service.writes(/thread \d+ hangs/);
      const { facts } = await restarted(service);
      assert.equal(isOver, false, 'the restart did not wait for the thread');
      assert.equal(facts.silentThreads, 1);
      assert.notEqual((await service.current()).pid, first);
      await threadsOf(service, 4);
      assert.equal(await hanging, first, 'it got its answer');
      await service.alone();
    });
  });

  it('names a thread that hangs to the end', async () => {
    await withService({ ...plain, runOptions: ['--drain-timeout', '2s'] }, async (service) => {
      await threadsOf(service, 4);
      const port = await portOf(service);
      const { pid: first } = await service.current();
      const hanging = answererOf({ port, agent: false, path: '/hang/600000' }).catch(() => undefined);
      await service.writes(/thread \d+ hangs/);
      const running = strictLoad({ host: '127.0.0.1', port }, { 'kept-alive': 4 });
      await restarted(service);
      await until('the predecessor has ended', async () => {
        const { generations } = await service.status();
        return generations.every(({ pid }) => pid !== first);
      });
      await hanging;
      await service.logs(/worker thread \d+/);
      await running.stop();
    });
  });

  it('goes on when a thread ends and another comes, and is restarted then', async () => {
    await withService(plain, async (service) => {
      const before = await threadsOf(service, 4);
      const port = await portOf(service);
      await endOneOf(before, port);
      const running = strictLoad({ host: '127.0.0.1', port });
      await service.restart();
      await threadsOf(service, 4);
      await nothingLost(running);
    });
  });

  it('may have fewer threads in the next release, more, or none', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current.mjs');
      const release = async (name: string, text: string) => {
        const file = path.join(folder, `${name}.mjs`);
        await writeFile(file, text);
        await pointAt(link, file);
      };
      const withThreads = (count: number) =>
        release(
          `threads-${count}`,
          `process.env.THREADS = '${count}';\nawait import(${JSON.stringify(fixture('threads.mjs'))});\n`,
        );
      await withThreads(4);
      await withService({ command: [link] }, async (service) => {
        await threadsOf(service, 4);
        const port = await portOf(service);
        const running = strictLoad({ host: '127.0.0.1', port });
        // What is at rest moves whoever listened before: connections of the other clients may be in use just then.
        const replaced = async () => {
          const { moved } = await service.restart();
          assert.ok(moved >= 16, `${moved} connections moved`);
        };
        await withThreads(2);
        await replaced();
        await threadsOf(service, 2);
        await withThreads(6);
        await replaced();
        await threadsOf(service, 6);
        await release('none', `await import(${JSON.stringify(fixture('http.mjs'))});\n`);
        await replaced();
        await withThreads(3);
        await replaced();
        await threadsOf(service, 3);
        await nothingLost(running);
      });
    });
  });

  it('waits for its clients when its process crashes, and is started again', async () => {
    await withService(plain, async (service) => {
      await threadsOf(service, 4);
      const port = await portOf(service);
      const { pid } = await service.current();
      process.kill(pid, 'SIGKILL');
      const { answerer } = await answererOf({ port, agent: false });
      assert.notEqual(answerer.pid, pid);
      await threadsOf(service, 4);
      await service.restart();
      await threadsOf(service, 4);
    });
  });

  it('is checked before a client reaches it', async () => {
    await withService({ ...plain, runOptions: ['--check', '/'] }, async (service) => {
      await threadsOf(service, 4);
      await service.restart();
      await threadsOf(service, 4);
    });
  });

  it('runs in slots, is rolled and scaled, and loses nothing', async () => {
    const env = { THREADS: '2' };
    await withService({ ...plain, env, runOptions: ['--slots', '2'] }, async (service) => {
      const port = await until('both slots serve', async () => {
        const { generations } = await service.status();
        const serving = generations.filter(({ state }) => state === 'serving');
        return (
          serving.length === 2 && (serving[0]?.listeners?.[0]?.address as { port?: number } | undefined)?.port
        );
      });
      const running = strictLoad({ host: '127.0.0.1', port });
      await service.restart();
      assert.equal((await service.moult('scale', '3', service.name)).code, 0);
      assert.equal((await service.moult('scale', '1', service.name)).code, 0);
      await nothingLost(running);
    });
  });

  it('leaves no descriptor behind, whatever becomes of threads and processes', async () => {
    await withService({ ...plain, runOptions: ['--probation', '300ms'] }, async (service) => {
      await threadsOf(service, 4);
      const before = await service.descriptors();
      for (let n = 0; n < 3; n += 1) {
        const threads = await threadsOf(service, 4);
        const port = await portOf(service);
        await endOneOf(threads, port);
        await threadsOf(service, 4);
      }
      await service.assertDescriptors(before);
      await service.restart();
      await threadsOf(service, 4);
      await service.assertDescriptors(before);
    });
  });

  it('stops under load without a failure in a thread', async () => {
    await withService(plain, async (service) => {
      await threadsOf(service, 4);
      const running = strictLoad({ host: '127.0.0.1', port: await portOf(service) }, { 'new-connection': 8 });
      await until('there is load', () => running.snapshot().total.answered > 50);
      const stopped = service.stop();
      await until('it is stopping', () => service.log().some((line) => line === 'stopping'));
      await stopped;
      await running.stop();
      assert.doesNotMatch(service.output, /Error:|Warning/);
    });
  });
});

describe('servers in worker threads', () => {
  const command = [fixture('thread-forms.mjs')];

  it('may be given the descriptor of a server of the main thread', async () => {
    await withService({ command, env: { FORM: 'fd' } }, async (service) => {
      const port = await portOf(service);
      await threadsOf(service, 3);
      const running = strictLoad({ host: '127.0.0.1', port });
      await service.restart();
      await threadsOf(service, 3);
      await service.restart();
      await threadsOf(service, 3);
      const { redials, toldToClose } = running.snapshot().total;
      assert.deepEqual({ redials, toldToClose }, { redials: 0, toldToClose: 0 }, 'every connection moved');
      await nothingLost(running);
    });
  });

  it('may look for a free port and listen on it', async () => {
    await withService({ command, env: { FORM: 'finds' } }, async (service) => {
      await service.writes(/own port true\n/);
      assert.doesNotMatch(service.output, /EADDRINUSE/);
    });
  });

  it('may share a Unix path', async () => {
    await withFolder(async (folder) => {
      const socketPath = path.join(folder, 'app.sock');
      await withService({ command, env: { FORM: 'unix', SOCKET: socketPath } }, async (service) => {
        const seen = new Set<string>();
        const see = (pid: number) =>
          until('both threads answer', async () => {
            const { answerer } = await answererOf({ socketPath, agent: false });
            if (answerer.pid === pid) seen.add(answerer.thread);
            return seen.size === 2;
          });
        await see((await service.current()).pid);
        seen.clear();
        await service.restart();
        await see((await service.current()).pid);
      });
    });
  });

  it('have WebSockets that move with what they have saved, where the thread has declared them movable', async () => {
    await withService({ command: [fixture('thread-websockets.mjs')] }, async (service) => {
      const port = await portOf(service);
      const clients = Array.from({ length: 8 }, () => new WebSocket(`ws://127.0.0.1:${port}`));
      try {
        await Promise.all(clients.map((ws) => once(ws, 'open')));
        const say = () =>
          Promise.all(
            clients.map(async (ws) => {
              ws.send('more');
              const [data] = (await once(ws, 'message')) as [Buffer];
              return data.toString();
            }),
          );
        const { pid: first } = await service.current();
        for (const answer of await say()) assert.equal(answer, `${first} 1`);
        await service.restart();
        const { pid: second } = await service.current();
        assert.notEqual(second, first);
        for (const answer of await say()) assert.equal(answer, `${second} 2`);
      } finally {
        for (const ws of clients) ws.terminate();
      }
    });
  });

  it('keep the port open until the last of them is closed', async () => {
    await withService({ command, env: { FORM: 'closes' } }, async (service) => {
      await threadsOf(service, 2);
      const port = await portOf(service);
      const { answerer: first } = await answererOf({ port, agent: false, path: '/close' });
      for (let n = 0; n < 8; n += 1) {
        const { answerer } = await answererOf({ port, agent: false });
        assert.notEqual(answerer.thread, first.thread);
      }
      await answererOf({ port, agent: false, path: '/close' });
      await until('the port is closed', () =>
        answererOf({ port, agent: false }).then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
        ),
      );
      // Nothing keeps the service: it ends by itself, and moult run with it.
      assert.equal(await service.ended, 0);
    });
  });
});

describe('a worker thread that listens at once', () => {
  it('is answered by a main thread that is busy from the moment when it has made the thread', async () => {
    const ports = await freePorts(2);
    const env = { PORTS: ports.join() };
    await withService({ command: [fixture('busy-after-thread.mjs')], env }, async (service) => {
      for (let restarts = 0; restarts < 2; restarts += 1) {
        for (const port of ports)
          await until(`port ${port} answers`, () =>
            answererOf({ port, agent: false }).then(
              () => true,
              () => false,
            ),
          );
        await service.restart();
      }
    });
  });
});

function countBy(all: readonly string[]): number[] {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(one, (counts.get(one) ?? 0) + 1);
  return [...counts.values()];
}

/** Restarts it; how long it took, and what is told of the connections. */
async function restarted(service: Supervised): Promise<{ ms: number; facts: Record<string, unknown> }> {
  const beganMs = performance.now();
  const { code, lines, stderr } = await service.restartLines();
  assert.equal(code, 0, stderr + JSON.stringify(lines.at(-1)));
  const ms = performance.now() - beganMs;
  const stage = lines.find((line) => line.stage === 'connections') as { facts?: Record<string, unknown> };
  return { ms, facts: stage?.facts ?? {} };
}
