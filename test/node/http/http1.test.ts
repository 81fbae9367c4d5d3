import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createServer as createNetServer, type Socket } from 'node:net';
import { describe } from 'node:test';
import { descriptorOf } from '#moult/node/handle.js';
import {
  betweenRequests,
  freeze,
  giveToServer,
  http1Phase,
  isPlainHttp,
  socketOn,
  thaw,
  timeLeftMs,
} from '#moult/node/http/http1.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { libc, MSG_DONTWAIT } from '#moult/os/libc.js';
import { eventOf, soon, turns, until } from '../../support/events.js';
import { type Later, tidy } from '../../support/tidy.js';
import { connectedTo, httpServer, type ServerAndClient, serverAndClient } from '../server.js';

const MSG_PEEK = 2;
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
const HEAD_OF_POST = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n';

const phase = ({ server, inside }: ServerAndClient) => http1Phase(inside, betweenRequests(server));

/** Answers requests when the test says so. */
function patient() {
  const waiting: ServerResponse[] = [];
  const seen: IncomingMessage[] = [];
  return {
    listener: (request: IncomingMessage, response: ServerResponse) => {
      request.resume();
      seen.push(request);
      waiting.push(response);
    },
    seen,
    waiting,
    answer: (text = 'ok') => waiting.shift()?.end(text),
  };
}

const atRest = (on: ServerAndClient) => until(() => phase(on) === 'rest', 'a connection at rest');

describe('where a connection stands', () => {
  tidy(
    'is at rest while it is fresh, byte by byte receiving, then responding, then at rest',
    async (later) => {
      const app = patient();
      const on = await serverAndClient(later, app.listener);
      assert.equal(phase(on), 'rest');
      for (let round = 0; round < 2; round += 1) {
        const before = on.inside.bytesRead;
        for (let i = 0; i < GET.length - 1; i += 1) {
          on.client.write(GET.slice(i, i + 1));
          await on.read(before + i + 1);
          assert.equal(phase(on), 'receiving', `after ${i + 1} bytes of request ${round + 1}`);
        }
        on.client.write(GET.slice(-1));
        await until(() => app.waiting.length > 0, 'a request');
        assert.equal(phase(on), 'responding');
        app.answer('ok');
        await on.answered('ok');
        await atRest(on);
      }
    },
  );

  tidy('is receiving to the last byte of a body, also when it is answered before', async (later) => {
    for (const isEarly of [false, true]) {
      const app = patient();
      const on = await serverAndClient(later, app.listener);
      on.client.write(HEAD_OF_POST);
      await until(() => app.waiting.length > 0, 'a request');
      if (isEarly) {
        app.answer('early');
        await on.answered('early');
      }
      for (let i = 0; i < 9; i += 1) {
        assert.equal(phase(on), 'receiving', `before byte ${i + 1} of the body, early: ${isEarly}`);
        on.client.write('x');
        await on.read(HEAD_OF_POST.length + i + 1);
      }
      assert.equal(phase(on), 'receiving');
      on.client.write('x');
      await on.read(HEAD_OF_POST.length + 10);
      if (!isEarly) {
        assert.equal(phase(on), 'responding');
        app.answer('late');
        await on.answered('late');
      }
      await atRest(on);
    }
  });

  tidy('is receiving to the last byte of a chunked body with a trailer', async (later) => {
    const app = patient();
    const on = await serverAndClient(later, app.listener);
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n';
    const body = '3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n';
    on.client.write(head);
    await until(() => app.waiting.length > 0, 'a request');
    for (let i = 0; i < body.length; i += 1) {
      assert.equal(phase(on), 'receiving', `before byte ${i + 1}`);
      on.client.write(body.slice(i, i + 1));
      await on.read(head.length + i + 1);
    }
    assert.equal(phase(on), 'responding');
    assert.ok(app.seen[0]?.complete);
    app.answer('ok');
    await on.answered('ok');
    await atRest(on);
  });

  tidy('is not disturbed by stray line ends between requests', async (later) => {
    const on = await serverAndClient(later, (_request, response) => response.end('ok'));
    on.client.write(GET);
    await on.answered('ok');
    await atRest(on);
    on.client.write('\r\n');
    await on.read(GET.length + 2);
    // It may count as the begin of a request or not; it must not stand in the way of the next.
    assert.ok(['rest', 'receiving'].includes(phase(on)));
    on.client.write('\r\n');
    on.client.write(GET);
    await on.read(GET.length * 2 + 4);
    await until(() => on.received().split('200 OK').length === 3, 'a second answer');
    await atRest(on);
  });

  tidy('is responding until the last of many pipelined requests is answered', async (later) => {
    const app = patient();
    const on = await serverAndClient(later, app.listener);
    on.client.write(GET.repeat(3));
    await until(() => app.waiting.length > 0, 'a request');
    for (let i = 1; i <= 3; i += 1) {
      await until(() => app.waiting.length > 0, `request ${i}`);
      assert.equal(phase(on), 'responding', `before answer ${i}`);
      app.answer(`answer-${i}`);
      await on.answered(`answer-${i}`);
    }
    await atRest(on);
  });

  tidy('is receiving when a whole request is followed by a part of the next', async (later) => {
    const app = patient();
    const on = await serverAndClient(later, app.listener);
    on.client.write(`${GET}GET / HT`);
    await until(() => app.waiting.length > 0, 'a request');
    await on.read(GET.length + 8);
    assert.equal(phase(on), 'receiving');
    app.answer('one');
    await on.answered('one');
    await turns();
    assert.equal(phase(on), 'receiving');
    on.client.write(GET.slice(8));
    await until(() => app.waiting.length > 0, 'the second request');
    app.answer('two');
    await on.answered('two');
    await atRest(on);
  });

  tidy('is receiving while a client waits for 100 Continue', async (later) => {
    const app = patient();
    const on = await serverAndClient(later, app.listener);
    on.client.write(HEAD_OF_POST.replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n'));
    await on.answered('100 Continue\r\n\r\n');
    assert.equal(phase(on), 'receiving');
    on.client.write('0123456789');
    await until(() => app.seen[0]?.complete === true, 'the whole request');
    assert.equal(phase(on), 'responding');
    app.answer('ok');
    await on.answered('ok');
    await atRest(on);
  });

  tidy('is at rest after the answer to HEAD, 204 and 304', async (later) => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      const on = await serverAndClient(later, (_request, response) => {
        response.statusCode = status;
        response.end();
      });
      on.client.write(GET.replace('GET', method));
      await on.answered('\r\n\r\n');
      await atRest(on);
    }
  });

  tidy('is not at rest while the client has not taken the answer, and is when it has', async (later) => {
    const size = 32 * 1024 * 1024;
    const on = await serverAndClient(later, (_request, response) => {
      response.setHeader('Content-Length', size);
      response.end(Buffer.alloc(size));
    });
    on.client.pause();
    on.client.write(GET);
    await until(() => on.inside.writableLength > 0 || on.inside.bytesWritten > 0, 'an answer under way');
    await turns(20);
    assert.ok(['responding', 'flushing'].includes(phase(on)), phase(on));
    on.client.resume();
    await until(() => on.client.bytesRead >= size, 'the whole answer');
    await atRest(on);
  });

  tidy('is ended when either side has ended it', async (later) => {
    const on = await serverAndClient(later, (_request, response) => response.end('ok'));
    on.inside.end();
    assert.equal(phase(on), 'ended');
    on.inside.destroy();
    assert.equal(phase(on), 'ended');
    const other = await connectedTo(later, on.server);
    other.client.end();
    await until(() => phase(other) === 'ended', 'an end');
  });

  tidy('is not at rest when the service reads it itself, as after an upgrade', async (later) => {
    const on = await serverAndClient(later, () => {});
    on.server.on('upgrade', (_request, socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
    on.client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await on.answered('\r\n\r\n');
    assert.equal(phase(on), 'receiving');
    on.inside.destroy();
  });
});

/** How many bytes the kernel holds for a socket. */
function inKernel(fd: number): number {
  const buffer = Buffer.alloc(65_536);
  return Math.max(0, libc().recv(fd, buffer, buffer.length, MSG_PEEK | MSG_DONTWAIT));
}

describe('a frozen connection', () => {
  tidy('leaves what the client sends in the kernel, whoever asks it to read', async (later) => {
    const on = await serverAndClient(later, (_request, response) => response.end('ok'));
    on.client.write(GET);
    await on.answered('ok');
    await atRest(on);
    freeze(on.inside);
    const before = on.inside.bytesRead;
    on.client.write(GET);
    await until(() => inKernel(descriptorOf(on.inside)) === GET.length, 'bytes in the kernel');
    on.inside.resume();
    on.inside.read(0);
    on.inside.pause();
    on.inside.resume();
    await turns(10);
    assert.equal(on.inside.bytesRead, before);
    assert.equal(inKernel(descriptorOf(on.inside)), GET.length);
    assert.equal(phase(on), 'rest');
    thaw(on.inside);
    await until(() => on.received().split('200 OK').length === 3, 'a second answer');
    assert.equal(on.inside.bytesRead, before + GET.length);
  });

  tidy('that is fresh can be frozen and thawed, many times, and loses nothing', async (later) => {
    const bodies: string[] = [];
    const on = await serverAndClient(later, (request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        bodies.push(body);
        response.end('ok');
      });
    });
    const text = '0123456789';
    for (const byte of HEAD_OF_POST + text) {
      freeze(on.inside);
      freeze(on.inside);
      on.client.write(byte);
      await turns(1);
      thaw(on.inside);
      thaw(on.inside);
    }
    await on.answered('ok');
    assert.deepEqual(bodies, [text]);
  });

  tidy('ends its answer, although it reads nothing', async (later) => {
    const app = patient();
    const on = await serverAndClient(later, app.listener);
    on.client.write(GET);
    await until(() => app.waiting.length > 0, 'a request');
    freeze(on.inside);
    app.waiting[0]?.write('part');
    await turns();
    app.answer('end');
    await until(() => on.received().includes('end'), 'the answer');
    await until(() => phase(on) === 'rest', 'rest');
  });

  tidy('that was paused by the service stays paused when it is thawed', async (later) => {
    const on = await serverAndClient(later, () => {});
    on.inside.pause();
    freeze(on.inside);
    thaw(on.inside);
    on.client.write(GET);
    await until(() => inKernel(descriptorOf(on.inside)) === GET.length, 'bytes in the kernel');
    await turns(5);
    assert.equal(on.inside.bytesRead, 0);
    on.inside.resume();
    await on.read(GET.length);
  });

  tidy(
    'can be passed on with what is on its way, and answers elsewhere; the client sees one connection',
    async (later) => {
      const on = await serverAndClient(later, (_request, response) => response.end('old.'));
      const next = await httpServer(later, (_request, response) => response.end('new.'));
      on.client.write(GET);
      await on.answered('old.');
      await atRest(on);
      freeze(on.inside);
      on.client.write(GET);
      await until(() => inKernel(descriptorOf(on.inside)) === GET.length, 'bytes in the kernel');
      const moved = socketOn(duplicate(descriptorOf(on.inside)), next);
      on.inside.destroy();
      moved.on('error', () => {});
      moved.once('data', (chunk) => giveToServer(next, moved, chunk));
      await on.answered('new.');
      for (let i = 0; i < 3; i += 1) {
        on.client.write(GET);
        await until(() => on.received().split('200 OK').length === 4 + i, 'an answer');
      }
      assert.equal(on.client.destroyed, false);
      await new Promise<void>((resolve, reject) =>
        next.getConnections((error, count) => {
          if (error) reject(error);
          else assert.equal(count, 1);
          resolve();
        }),
      );
      on.client.destroy();
      await eventOf(moved, 'close');
    },
  );
});

describe('a connection that is given to a server', () => {
  /** Gives what a client has sent to a server whose service looks at each client first. */
  async function given(later: Later, look: (socket: Socket, letIn: () => void) => void) {
    const first = await serverAndClient(later, (_request, response) => response.end('old.'));
    const bodies: string[] = [];
    const next = await httpServer(later, async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      bodies.push(body);
      response.end('new.');
    });
    const [own] = next.listeners('connection') as ((socket: Socket) => void)[];
    next.removeAllListeners('connection');
    next.on('connection', (socket: Socket) => look(socket, () => own?.call(next, socket)));
    freeze(first.inside);
    const moved = socketOn(duplicate(descriptorOf(first.inside)), next);
    first.inside.destroy();
    moved.on('error', () => {});
    moved.once('data', (chunk) => giveToServer(next, moved, chunk));
    return { ...first, moved, bodies };
  }

  tidy('is read by whoever the service has read it, later, and nothing of it is lost', async (later) => {
    const waiting: (() => void)[] = [];
    const { client, answered, moved, bodies } = await given(later, (_socket, letIn) => waiting.push(letIn));
    client.write(HEAD_OF_POST);
    await until(() => waiting.length === 1, 'a look at the client');
    client.write('01234');
    await until(() => moved.bytesRead === HEAD_OF_POST.length + 5, 'more of it');
    await turns();
    waiting[0]?.();
    client.write('56789');
    await answered('new.');
    assert.deepEqual(bodies, ['0123456789']);
  });

  tidy('waits while the service has paused it', async (later) => {
    const waiting: (() => void)[] = [];
    const { client, answered, bodies } = await given(later, (socket, letIn) => {
      letIn();
      socket.pause();
      waiting.push(() => socket.resume());
    });
    client.write(`${HEAD_OF_POST}0123456789`);
    await until(() => waiting.length === 1, 'a look at the client');
    await turns();
    assert.deepEqual(bodies, []);
    waiting[0]?.();
    await answered('new.');
    assert.deepEqual(bodies, ['0123456789']);
  });
});

describe('the time left of a connection', () => {
  tidy('is what is left of its keep-alive time, and goes down', async (later) => {
    const server = await httpServer(later, (_request, response) => response.end('ok'));
    server.keepAliveTimeout = 60_000;
    const on = await connectedTo(later, server);
    assert.equal(timeLeftMs(on.inside), null);
    on.client.write(GET);
    await on.answered('ok');
    await atRest(on);
    await until(() => timeLeftMs(on.inside) !== null, 'a time-out');
    const fromMs = performance.now();
    const first = timeLeftMs(on.inside) ?? 0;
    // Newer versions of Node add a second to what they promise.
    assert.ok(first > 40_000 && first <= 61_000, `${first} ms`);
    await until(() => performance.now() - fromMs > 60, '60 ms');
    const second = timeLeftMs(on.inside) ?? 0;
    const tookMs = performance.now() - fromMs;
    assert.ok(first - second >= 40 && first - second < tookMs + 100, `${first - second} of ${tookMs} ms`);
  });

  tidy('is none where none was set', async (later) => {
    const server = await httpServer(later, (_request, response) => response.end('ok'));
    server.keepAliveTimeout = 0;
    const on = await connectedTo(later, server);
    on.client.write(GET);
    await on.answered('ok');
    await atRest(on);
    assert.equal(timeLeftMs(on.inside), null);
    on.inside.setTimeout(60_000);
    assert.ok((timeLeftMs(on.inside) ?? 0) > 40_000);
    on.inside.setTimeout(0);
    assert.equal(timeLeftMs(on.inside), null);
  });

  tidy('is nothing, and not less, when it is over', async (later) => {
    const on = await serverAndClient(later, () => {});
    on.inside.setTimeout(1);
    await soon(eventOf(on.inside, 'timeout'), 'a time-out');
    assert.ok((timeLeftMs(on.inside) ?? 0) >= 0);
  });
});

describe('a plain HTTP server', () => {
  tidy('is one of node:http, and none of node:https or node:net', () => {
    assert.equal(isPlainHttp(createServer()), true);
    assert.equal(isPlainHttp(createSecureServer()), false);
    assert.equal(isPlainHttp(createNetServer()), false);
  });

  tidy('that never listened has no connection between requests, and no error', () => {
    assert.equal(betweenRequests(createServer()).size, 0);
  });
});
