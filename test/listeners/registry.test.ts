import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { connect as connectSecurely, createServer as createSecureServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { descriptorOf, handleOf } from '#moult/node/handle.js';
import { closeDescriptor, duplicate } from '#moult/os/descriptors/descriptor.js';
import { MAX_SOCKET_PATH_BYTES } from '#moult/os/unix-sockets/unix-socket.js';
import { isCloseOnExec } from '../support/descriptors.js';
import { eventOf, soon, turns } from '../support/events.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { addressOf, closed, GenerationOfListeners, visit } from './two-generations.js';

/** A server that answers every client with its own name. */
const answering = (name: string) => createServer((socket: Socket) => socket.on('error', () => {}).end(name));

const fixtures = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
const LOCAL = { port: 0, host: '127.0.0.1' };

/** A first generation that listens, and a second one that has claimed the listener and is gated. */
async function claimed(later: Later, where: object = LOCAL) {
  const one = new GenerationOfListeners(later);
  const first = await one.listen(later, answering('first'), where);
  const two = new GenerationOfListeners(later, one);
  const second = await two.listen(later, answering('second'), where);
  const at =
    typeof first.address() === 'string'
      ? { path: first.address() }
      : { port: addressOf(first).port, host: '127.0.0.1' };
  return { one, two, first, second, at };
}

const refused = (code: string) => code === 'ECONNREFUSED' || code === 'ENOENT';

describe('a listener of a first generation', () => {
  tidy(
    'is registered under its name, accepts, and is described with a descriptor of its own',
    async (later) => {
      const one = new GenerationOfListeners(later);
      const server = await one.listen(later, answering('first'), { ...LOCAL, backlog: 7 });
      assert.deepEqual(one.told, ['bound tcp://127.0.0.1:0']);
      const { items, descriptors } = one.registry.describe();
      assert.deepEqual(items, [
        { name: 'tcp://127.0.0.1:0', family: 'tcp', path: null, backlog: 7, unhandled: false },
      ]);
      assert.notEqual(descriptors[0], descriptorOf(server));
      assert.ok(isCloseOnExec(descriptors[0] ?? -1));
      assert.equal(await visit({ port: addressOf(server).port, host: '127.0.0.1' }).answer, 'first');
      assert.equal(one.registry.of(server)?.state, 'open');
      assert.equal(one.registry.serverOf('tcp://127.0.0.1:0'), server);
    },
  );

  tidy(
    'on port 0 twice has two names, and the second generation claims them in the same order',
    async (later) => {
      const one = new GenerationOfListeners(later);
      const firsts = [
        await one.listen(later, answering('a'), LOCAL),
        await one.listen(later, answering('b'), LOCAL),
      ];
      assert.deepEqual(one.told, ['bound tcp://127.0.0.1:0', 'bound tcp://127.0.0.1:0#2']);
      const two = new GenerationOfListeners(later, one);
      const seconds = [
        await two.listen(later, answering('a2'), LOCAL),
        await two.listen(later, answering('b2'), LOCAL),
      ];
      assert.deepEqual(
        seconds.map((server) => addressOf(server).port),
        firsts.map((server) => addressOf(server).port),
      );
      assert.deepEqual(two.registry.inherited.unclaimed(), []);
      assert.deepEqual(two.told, ['claimed tcp://127.0.0.1:0', 'claimed tcp://127.0.0.1:0#2']);
    },
  );

  tidy('that fails to bind is an error event as Node has it, and registers nothing', async (later) => {
    const other = answering('other').listen(LOCAL);
    later(() => closed(other));
    await eventOf(other, 'listening');
    const where = { port: addressOf(other).port, host: '127.0.0.1' };
    const one = new GenerationOfListeners(later);
    const server = answering('first');
    one.own(server);
    server.listen(where);
    const [error] = await eventOf<[NodeJS.ErrnoException]>(server, 'error');
    const [own] = await eventOf<[NodeJS.ErrnoException]>(createServer().listen(where), 'error');
    assert.deepEqual({ ...error, message: error.message }, { ...own, message: own.message });
    assert.equal(server.listening, false);
    assert.deepEqual(one.told, []);
    assert.deepEqual(one.registry.own(), []);
  });

  for (const [what, make] of [
    ['is taken', (folder: string) => join(folder, 'taken.sock')],
    ['lies in a folder that is missing', (folder: string) => join(folder, 'none/a.sock')],
  ] as const) {
    tidy(`whose path ${what} is an error event as Node has it`, async (later) => {
      const folder = temporaryFolder(later);
      const other = answering('other').listen(join(folder, 'taken.sock'));
      later(() => closed(other));
      await eventOf(other, 'listening');
      const path = make(folder);
      const outcome = async (server: Server) => {
        try {
          server.listen(path);
        } catch (error) {
          return { thrown: (error as { code?: string }).code };
        }
        const [error] = await eventOf<[NodeJS.ErrnoException]>(server, 'error', 1000);
        return { ...error, message: error.message };
      };
      const mine = answering('first');
      new GenerationOfListeners(later).own(mine);
      const own = createServer();
      later(() => closed(own));
      assert.deepEqual(await outcome(mine), await outcome(own));
      assert.equal(mine.listening, false);
    });
  }

  tidy('whose path is too long is an error event, and no exception out of listen()', async (later) => {
    const server = answering('first');
    new GenerationOfListeners(later).own(server);
    server.listen(join(temporaryFolder(later), 'x'.repeat(MAX_SOCKET_PATH_BYTES)));
    const [error] = await eventOf<[NodeJS.ErrnoException]>(server, 'error');
    assert.equal(error.syscall, 'listen');
    assert.equal(server.listening, false);
  });

  tidy(
    'closed by the service closes its port everywhere, and it can be bound again at once',
    async (later) => {
      const one = new GenerationOfListeners(later);
      const server = await one.listen(later, answering('first'), LOCAL);
      const at = { port: addressOf(server).port, host: '127.0.0.1' };
      // As the supervisor holds one.
      const held = duplicate(one.registry.describe().descriptors[0] ?? -1);
      later(() => closeDescriptor(held));
      await closed(server);
      assert.deepEqual(one.told, ['bound tcp://127.0.0.1:0', 'closed tcp://127.0.0.1:0']);
      assert.ok(refused(await visit(at).answer));
      const again = await one.listen(later, answering('again'), at);
      assert.equal(await visit(at).answer, 'again');
      assert.equal(one.registry.own().length, 1);
      await closed(again);
    },
  );

  tidy('can be closed and opened again by the service with the same server', async (later) => {
    const one = new GenerationOfListeners(later);
    const server = await one.listen(later, answering('first'), LOCAL);
    const at = { port: addressOf(server).port, host: '127.0.0.1' };
    await closed(server);
    await one.listen(later, server, at);
    assert.equal(await visit(at).answer, 'first');
    assert.equal(one.registry.of(server)?.state, 'open');
    assert.deepEqual(
      one.registry.streams().map(({ server: of }) => of),
      [server],
    );
  });

  tidy(
    'on a Unix path has it removed by the close of the service, and keeps the mode that was asked for',
    async (later) => {
      const path = join(temporaryFolder(later), 'a.sock');
      const one = new GenerationOfListeners(later);
      const server = await one.listen(later, answering('first'), {
        path,
        readableAll: true,
        writableAll: true,
      });
      assert.equal(server.address(), path);
      assert.equal(statSync(path).mode & 0o666, 0o666);
      assert.equal(await visit({ path }).answer, 'first');
      await closed(server);
      assert.equal(existsSync(path), false);
    },
  );

  tidy('on an abstract name can be reached, and is claimed by its name', async (later) => {
    const path = `\0moult-test-registry-${process.pid}`;
    const one = new GenerationOfListeners(later);
    const server = await one.listen(later, answering('first'), { path });
    assert.equal(await visit({ path }).answer, 'first');
    const two = new GenerationOfListeners(later, one);
    await two.listen(later, answering('second'), { path });
    one.registry.pause();
    two.registry.openGates();
    assert.equal(await visit({ path }).answer, 'second');
    await closed(server);
  });

  tidy('given by a descriptor has its number as its name', async (later) => {
    const plain = answering('plain').listen(LOCAL);
    await eventOf(plain, 'listening');
    const fd = duplicate(descriptorOf(plain));
    const port = addressOf(plain).port;
    await closed(plain);
    const one = new GenerationOfListeners(later);
    const server = await one.listen(later, answering('first'), { fd });
    assert.deepEqual(one.told, [`bound fd:${fd}`]);
    assert.equal(await visit({ port, host: '127.0.0.1' }).answer, 'first');
    assert.equal(one.registry.describe().items[0]?.family, 'tcp');
    await closed(server);
  });

  tidy('ends with its signal', async (later) => {
    const one = new GenerationOfListeners(later);
    const control = new AbortController();
    const server = await one.listen(later, answering('first'), { ...LOCAL, signal: control.signal });
    control.abort();
    await eventOf(server, 'close');
    assert.deepEqual(one.told.at(-1), 'closed tcp://127.0.0.1:0');
  });
});

describe('a claimed listener', () => {
  for (const kind of ['tcp', 'unix'] as const) {
    tidy(
      `(${kind}) does not accept before the gates open: the predecessor serves, then clients wait, then it does`,
      async (later) => {
        const where = kind === 'tcp' ? LOCAL : { path: join(temporaryFolder(later), 'a.sock') };
        const { one, two, first, second, at } = await claimed(later, where);
        assert.equal(second.listening, true);
        assert.deepEqual(second.address(), first.address());
        assert.equal(two.registry.of(second)?.state, 'gated');
        for (let i = 0; i < 30; i += 1) assert.equal(await visit(at).answer, 'first');
        one.registry.pause();
        const waiting = Array.from({ length: 20 }, () => visit(at));
        await soon(Promise.all(waiting.map(({ connected }) => connected)), 'connections in the backlog');
        await turns(5);
        assert.ok(
          waiting.every(({ socket }) => socket.bytesRead === 0),
          'somebody accepted while the gate was shut',
        );
        two.registry.openGates();
        for (const { answer } of waiting) assert.equal(await soon(answer, 'an answer'), 'second');
        for (let i = 0; i < 10; i += 1) assert.equal(await visit(at).answer, 'second');
        assert.equal(two.registry.of(second)?.state, 'open');
      },
    );
  }

  tidy(
    'closed while gated is given back unclaimed, leaves the predecessor serving, and can be claimed again',
    async (later) => {
      const { two, second, at } = await claimed(later);
      const name = 'tcp://127.0.0.1:0';
      await closed(second);
      assert.deepEqual(two.registry.inherited.unclaimed(), [name]);
      assert.deepEqual(two.registry.own(), []);
      assert.equal(two.told.includes(`closed ${name}`), false, 'it was never its own');
      assert.equal(await visit(at).answer, 'first');
      const again = await two.listen(later, answering('again'), LOCAL);
      assert.equal(addressOf(again).port, at.port);
      assert.deepEqual(two.registry.inherited.unclaimed(), []);
    },
  );

  tidy('has the backlog of its own claim, or the one it had', async (later) => {
    const one = new GenerationOfListeners(later);
    await one.listen(later, answering('a'), { ...LOCAL, backlog: 7 });
    await one.listen(later, answering('b'), { ...LOCAL, backlog: 8 });
    const two = new GenerationOfListeners(later, one);
    await two.listen(later, answering('a'), LOCAL);
    await two.listen(later, answering('b'), { ...LOCAL, backlog: 99 });
    assert.deepEqual(
      two.registry.describe().items.map(({ backlog }) => backlog),
      [7, 99],
    );
  });

  tidy('not claimed is dropped without a change for the predecessor', async (later) => {
    const one = new GenerationOfListeners(later);
    const first = await one.listen(later, answering('first'), LOCAL);
    const two = new GenerationOfListeners(later, one);
    two.registry.openGates();
    two.registry.dropUnclaimed();
    assert.deepEqual(two.registry.inherited.unclaimed(), []);
    assert.equal(await visit({ port: addressOf(first).port, host: '127.0.0.1' }).answer, 'first');
  });

  tidy('whose successor goes away leaves the path and the port to the predecessor', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    const { two, second } = await claimed(later, { path });
    await closed(second);
    two.registry.dropUnclaimed();
    assert.ok(existsSync(path));
    assert.equal(await visit({ path }).answer, 'first');
  });
});

describe('a new listener of a gated generation', () => {
  tidy('is bound at once, and accepts when the gates open', async (later) => {
    const { two } = await claimed(later);
    const server = await two.listen(later, answering('new'), LOCAL);
    const at = { port: addressOf(server).port, host: '127.0.0.1' };
    assert.ok(at.port > 0);
    assert.equal(two.registry.of(server)?.state, 'gated');
    assert.equal(await visit(at).answer, 'ECONNREFUSED');
    two.registry.openGates();
    assert.equal(await visit(at).answer, 'new');
  });

  tidy('on a port that is taken is an error event before the gates open', async (later) => {
    const other = answering('other').listen(LOCAL);
    later(() => closed(other));
    await eventOf(other, 'listening');
    const { two } = await claimed(later);
    const where = { port: addressOf(other).port, host: '127.0.0.1' };
    const server = answering('new');
    two.own(server);
    server.listen(where);
    const [error] = await eventOf<[NodeJS.ErrnoException]>(server, 'error');
    assert.equal(error.code, 'EADDRINUSE');
    assert.equal((error as { port?: number }).port, where.port);
    assert.equal(server.listening, false);
    assert.equal(two.registry.own().length, 1);
    assert.equal(await visit(where).answer, 'other');
  });

  tidy('on a path is bound at once, and accepts when the gates open', async (later) => {
    const path = join(temporaryFolder(later), 'new.sock');
    const { two } = await claimed(later);
    const server = await two.listen(later, answering('new'), path);
    assert.equal(server.address(), path);
    assert.equal(await visit({ path }).answer, 'ECONNREFUSED');
    two.registry.openGates();
    assert.equal(await visit({ path }).answer, 'new');
  });

  tidy('leaves the listen of servers that are not of the generation as it was', async (later) => {
    const { two } = await claimed(later);
    await two.listen(later, answering('new'), LOCAL);
    const plain = answering('plain').listen(LOCAL);
    later(() => closed(plain));
    await eventOf(plain, 'listening');
    assert.equal(await visit({ port: addressOf(plain).port, host: '127.0.0.1' }).answer, 'plain');
  });

  tidy(
    'that is closed before the gates open is gone: nobody waits for it to be claimed, and its port is free',
    async (later) => {
      // As a service does that looks for a free port before it listens.
      const { two } = await claimed(later);
      const probe = await two.listen(later, answering('probe'), LOCAL);
      const at = { port: addressOf(probe).port, host: '127.0.0.1' };
      await closed(probe);
      assert.deepEqual(two.registry.inherited.unclaimed(), [], 'the successor would never be ready');
      const other = answering('other').listen(at);
      later(() => closed(other));
      await eventOf(other, 'listening');
    },
  );
});

describe('a paused listener', () => {
  for (const kind of ['tcp', 'unix'] as const) {
    tidy(
      `(${kind}) still says that it listens, lets clients wait, and serves them when it resumes`,
      async (later) => {
        const path = join(temporaryFolder(later), 'a.sock');
        const one = new GenerationOfListeners(later);
        const server = await one.listen(later, answering('first'), kind === 'tcp' ? LOCAL : { path });
        const address = server.address();
        const at = kind === 'tcp' ? { port: addressOf(server).port, host: '127.0.0.1' } : { path };
        let closes = 0;
        server.on('close', () => {
          closes += 1;
        });
        for (let round = 0; round < 3; round += 1) {
          one.registry.pause();
          one.registry.pause();
          assert.equal(server.listening, true);
          assert.deepEqual(server.address(), address);
          assert.deepEqual(one.registry.of(server)?.address(), address);
          assert.equal(one.registry.of(server)?.state, 'paused');
          if (kind === 'unix') assert.ok(existsSync(path), 'pausing removed the path');
          const waiting = Array.from({ length: 5 }, () => visit(at));
          await soon(Promise.all(waiting.map(({ connected }) => connected)), 'connections in the backlog');
          await turns(5);
          assert.ok(
            waiting.every(({ socket }) => socket.bytesRead === 0),
            'somebody accepted',
          );
          one.registry.resume();
          one.registry.resume();
          for (const { answer } of waiting) assert.equal(await soon(answer, 'an answer'), 'first');
          assert.deepEqual(server.address(), address);
          assert.equal(one.registry.of(server)?.state, 'open');
        }
        assert.equal(closes, 0);
        await closed(server);
        assert.equal(closes, 1);
        assert.ok(refused(await visit(at).answer));
        assert.equal(existsSync(path), false);
      },
    );
  }

  tidy('keeps the connections that it has, and emits no close when the last of them ends', async (later) => {
    const one = new GenerationOfListeners(later);
    const server = await one.listen(
      later,
      createServer((socket) => socket.pipe(socket)),
      LOCAL,
    );
    let closes = 0;
    server.on('close', () => {
      closes += 1;
    });
    const accepted = eventOf(server, 'connection');
    const { socket, connected } = visit({ port: addressOf(server).port, host: '127.0.0.1' });
    await connected;
    await accepted;
    one.registry.pause();
    socket.write('still there');
    await eventOf(socket, 'data');
    socket.end();
    await eventOf(socket, 'close');
    await turns(5);
    assert.equal(closes, 0);
  });

  tidy('closed by the service is closed for the service alone: its successor goes on', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    for (const where of [LOCAL, { path }]) {
      const { one, two, first, at } = await claimed(later, where);
      one.registry.pause();
      two.registry.openGates();
      await closed(first);
      assert.equal(first.listening, false);
      assert.deepEqual(one.registry.own(), []);
      assert.equal(await visit(at).answer, 'second');
      assert.equal(
        one.told.some((line) => line.startsWith('closed')),
        false,
      );
    }
    assert.ok(existsSync(path));
  });

  tidy('closed by the service is closed for everybody when its successor gives it back', async (later) => {
    const path = join(temporaryFolder(later), 'a.sock');
    for (const where of [LOCAL, { path }]) {
      const { one, two, first, second, at } = await claimed(later, where);
      const { name } = one.registry.of(first)?.identity ?? {};
      one.registry.pause();
      two.registry.openGates();
      await closed(first);
      assert.equal(await visit(at).answer, 'second');
      // As a successor that must hand back.
      two.registry.pause();
      const theirs = two.registry.of(second);
      assert.ok(theirs !== undefined);
      two.registry.release(theirs, false);
      one.registry.resume();
      assert.deepEqual(one.registry.own(), []);
      assert.equal(one.told.at(-1), `closed ${name}`);
      assert.ok(refused(await visit(at).answer));
    }
    assert.equal(existsSync(path), false);
  });

  tidy(
    'closed by the service is told of when the successor never wanted it, and only then',
    async (later) => {
      for (const wanted of [true, false]) {
        const { one, two, first } = await claimed(later);
        const { name = '' } = one.registry.of(first)?.identity ?? {};
        one.registry.pause();
        two.registry.openGates();
        await closed(first);
        one.registry.successorHas(new Set(wanted ? [name] : []));
        assert.equal(one.told.at(-1) === `closed ${name}`, !wanted);
        // The successor's for good: what comes later is no concern of this one.
        const before = one.told.length;
        one.registry.resume();
        assert.equal(one.told.length, before);
      }
    },
  );

  tidy('closed by the service says no more that it has an address', async (later) => {
    const { one, first } = await claimed(later);
    one.registry.pause();
    await closed(first);
    assert.equal(first.address(), null);
  });

  tidy('that the service does not want to be kept alive for stays so when it resumes', async (later) => {
    const one = new GenerationOfListeners(later);
    const server = await one.listen(later, answering('first'), LOCAL);
    server.unref();
    const hasRef = () => (handleOf(server) as unknown as { hasRef(): boolean }).hasRef();
    assert.equal(hasRef(), false);
    one.registry.pause();
    one.registry.resume();
    assert.equal(hasRef(), false);
  });

  tidy('is released for itself alone, or for everybody', async (later) => {
    const { one, two, first, second, at } = await claimed(later);
    one.registry.pause();
    two.registry.openGates();
    const mine = one.registry.of(first);
    assert.ok(mine !== undefined);
    one.registry.release(mine, false);
    assert.equal(await visit(at).answer, 'second');
    const theirs = two.registry.of(second);
    assert.ok(theirs !== undefined);
    two.registry.release(theirs, true);
    assert.ok(refused(await visit(at).answer));
  });
});

describe('a claimed listener of a TLS server', () => {
  tidy('lets the clients of the predecessor resume their sessions', async (later) => {
    const secure = (sessionIdContext: string) =>
      createSecureServer(
        {
          key: readFileSync(`${fixtures}key.pem`),
          cert: readFileSync(`${fixtures}cert.pem`),
          sessionIdContext,
        },
        (socket) => socket.on('error', () => {}).end(sessionIdContext),
      );
    const one = new GenerationOfListeners(later);
    const first = await one.listen(later, secure('first'), LOCAL);
    const port = addressOf(first).port;
    const handshake = async (session?: Buffer) => {
      const socket = connectSecurely({
        port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ...(session && { session }),
      });
      let ticket: Buffer | undefined;
      let text = '';
      socket.on('session', (next: Buffer) => {
        ticket = next;
      });
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      await eventOf(socket, 'secureConnect');
      const isResumed = socket.isSessionReused();
      await eventOf(socket, 'close');
      return { ticket, isResumed, text };
    };
    const { ticket, isResumed } = await handshake();
    assert.equal(isResumed, false);
    const two = new GenerationOfListeners(later, one);
    await two.listen(later, secure('second'), LOCAL);
    one.registry.pause();
    two.registry.openGates();
    assert.deepEqual(await handshake(ticket).then((next) => [next.isResumed, next.text]), [true, 'second']);
  });
});

describe('servers of one process', () => {
  tidy('that share a handle are one listener', async (later) => {
    const one = new GenerationOfListeners(later);
    const first = await one.listen(later, answering('first'), LOCAL);
    const second = answering('second');
    one.own(second);
    second.listen(first);
    await eventOf(second, 'listening');
    assert.equal(one.registry.own().length, 1);
    // Closing it closes the handle of both; Node is the same without us.
    await closed(second);
  });

  tidy('in great number are all passed on', async (later) => {
    const one = new GenerationOfListeners(later);
    const firsts: Server[] = [];
    for (let i = 0; i < 60; i += 1) firsts.push(await one.listen(later, answering(`${i}`), LOCAL));
    const two = new GenerationOfListeners(later, one);
    const seconds: Server[] = [];
    for (let i = 0; i < 60; i += 1) seconds.push(await two.listen(later, answering(`${i}!`), LOCAL));
    one.registry.pause();
    two.registry.openGates();
    for (const [i, server] of seconds.entries()) {
      assert.equal(addressOf(server).port, firsts[i] === undefined ? 0 : addressOf(firsts[i]).port);
      assert.equal(await visit({ port: addressOf(server).port, host: '127.0.0.1' }).answer, `${i}!`);
    }
  });
});
