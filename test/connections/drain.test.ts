import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { describe } from 'node:test';
import { Drain } from '#moult/connections/drain.js';
import { watchPipelining } from '#moult/connections/http1/pipelining.js';
import { trackHttp2Sessions } from '#moult/connections/http2-sessions.js';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { handleOf } from '#moult/node/handle.js';
import { isReadable } from '#moult/os/unix-sockets/unix-socket.js';
import { selfSigned } from '#moult/tls/search/self-signed.js';
import { eventOf, soon, turns, until } from '../support/events.js';
import { type Later, tidy } from '../support/tidy.js';
import { trackedServer } from './tracked-server.js';
import { clientOf, GET, servedClient, side } from './two-servers.js';

const always = () => true;

describe('a drain', () => {
  tidy('is over at once when there is nothing, and not before nothing more can come', async (later) => {
    const a = await side(later, () => {});
    await soon(
      new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, always, always).finished,
      'the end',
    );
    let mayEnd = false;
    const drain = new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, always, () => mayEnd);
    let isOver = false;
    drain.finished.then(() => {
      isOver = true;
    });
    await turns(5);
    assert.equal(isOver, false);
    mayEnd = true;
    drain.check();
    await soon(drain.finished, 'the end');
  });

  tidy('lets every response in flight and the next one end, says close on it, and counts', async (later) => {
    const waiting: ServerResponse[] = [];
    const a = await side(later, (_request, response) => {
      waiting.push(response);
    });
    const busy = await clientOf(later, a);
    const idle = await clientOf(later, a);
    busy.socket.write(GET);
    await until(() => waiting.length === 1, 'a request');
    const drain = new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
    later(() => drain.stop());
    // Begun before the drain: it ends as it began, and the connection stays for one more.
    waiting[0]?.end('one');
    await busy.receives('one');
    for (const client of [busy, idle]) client.socket.write(GET);
    await until(() => waiting.length === 3, 'two more requests');
    for (const response of waiting.slice(1)) response.end('two');
    await Promise.all([soon(busy.closed, 'an end'), soon(idle.closed, 'an end')]);
    for (const client of [busy, idle]) assert.match(client.text(), /Connection: close\r\n(?!.*HTTP)/is);
    await soon(drain.finished, 'the end');
    assert.equal(drain.drained, 2);
    assert.deepEqual(drain.cut, []);
  });

  tidy('cuts what is left at its deadline, and says whom and why', async (later) => {
    const a = await side(later, () => {});
    const responding = await clientOf(later, a);
    responding.socket.write(GET);
    await until(() => (a.tracker.all()[0]?.socket.bytesRead ?? 0) === GET.length, 'a request');
    const receiving = await clientOf(later, a);
    receiving.socket.write('GET / HT');
    await until(() => (a.tracker.all()[1]?.socket.bytesRead ?? 0) === 8, 'half a request');
    const idle = await clientOf(later, a);
    const upgraded = await clientOf(later, a);
    a.server.on('upgrade', (_request, socket) =>
      socket.on('error', () => {}).write('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
    );
    upgraded.socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    await upgraded.receives('101');
    const peers = [responding, receiving, idle, upgraded].map(
      ({ socket }) => `127.0.0.1:${socket.localPort}`,
    );
    const drain = new Drain(a.tracker, [a.server], { timeoutMs: 50, spreadMs: 0 }, always, always);
    await soon(drain.finished, 'the end');
    for (const { closed } of [responding, receiving, idle, upgraded]) await soon(closed, 'a cut');
    assert.deepEqual(
      drain.cut.map(({ peer }) => peer),
      peers,
    );
    assert.deepEqual(
      drain.cut.map(({ reason }) => reason.split(/[:(]/)[0]?.trim()),
      ['its response was not finished', 'its request was not finished', 'idle', 'not HTTP/1.1'],
    );
    assert.ok(drain.cut.every(({ ageMs }) => ageMs >= 40));
  });

  tidy(
    'takes back at an undo what it has not said yet: nothing is held, and nobody is told to close',
    async (later) => {
      const waiting: ServerResponse[] = [];
      const a = await side(later, (_request, response) => {
        waiting.push(response);
      });
      watchPipelining(a.server, { meetsPipelining: false });
      const pipelining = await clientOf(later, a);
      const begun = await clientOf(later, a);
      pipelining.socket.write(GET + GET);
      await until(() => waiting.length === 2, 'two requests');
      for (const response of waiting) response.end('before');
      await pipelining.receives('before', 2);
      const drain = new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
      pipelining.socket.write(GET);
      await until(() => waiting.length === 3, 'a request in the drain');
      begun.socket.write(GET);
      await until(() => waiting.length === 4, 'a request of another client');
      waiting[2]?.end('held');
      drain.stop();
      await pipelining.receives('held');
      waiting[3]?.end('begun');
      await begun.receives('begun');
      for (const client of [pipelining, begun]) client.socket.write(GET);
      await until(() => waiting.length === 6, 'more requests on the same connections');
      for (const response of waiting.slice(4)) response.end('after');
      for (const client of [pipelining, begun]) {
        await client.receives('after');
        assert.doesNotMatch(client.text(), /Connection: close/i);
      }
    },
  );

  tidy(
    'ends at an undo although a service has said something wrong, and holds no other response',
    async (later) => {
      const waiting: ServerResponse[] = [];
      const a = await side(later, (_request, response) => {
        waiting.push(response);
      });
      watchPipelining(a.server, { meetsPipelining: false });
      const wrong = await clientOf(later, a);
      const right = await clientOf(later, a);
      for (const client of [wrong, right]) client.socket.write(GET + GET);
      await until(() => waiting.length === 4, 'two requests of each');
      for (const response of waiting) response.end('before');
      for (const client of [wrong, right]) await client.receives('before', 2);
      const drain = new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
      wrong.socket.write(GET);
      await until(() => waiting.length === 5, 'a request');
      right.socket.write(GET);
      await until(() => waiting.length === 6, 'another request');
      // What it calls is held, so it learns of its mistake later.
      (waiting[4] as { end(what: unknown): void }).end(123);
      waiting[5]?.end('held');
      const thrown = new Promise((resolve) => {
        process.setUncaughtExceptionCaptureCallback((error) => {
          process.setUncaughtExceptionCaptureCallback(null);
          resolve(error);
        });
      });
      drain.stop();
      await soon(drain.finished, 'the end');
      await right.receives('held');
      assert.match(String(await thrown), /ERR_INVALID_ARG_TYPE|must be of type/);
      assert.deepEqual(drain.cut, []);
    },
  );

  tidy('says close to nobody who may still move', async (later) => {
    const a = await side(later, (_request, response) => response.end('ok'));
    const client = await servedClient(later, a, 'ok');
    const drain = new Drain(a.tracker, [a.server], { timeoutMs: 60_000, spreadMs: 0 }, () => false, always);
    client.socket.write(GET);
    await client.receives('ok', 2);
    assert.doesNotMatch(client.text(), /Connection: close/i);
    drain.stop();
    await soon(drain.finished, 'the end');
  });

  tidy('ends HTTP/2 sessions when their streams have ended, and loses none', async (later) => {
    const streams: ServerHttp2Stream[] = [];
    const server = createHttp2Server();
    server.on('stream', (stream) => streams.push(stream));
    const tracker = new ConnectionTracker((one) => one === server);
    tracker.start();
    trackHttp2Sessions(server);
    server.listen(0, '127.0.0.1');
    later(() => new Promise<void>((resolve) => server.close(() => resolve())));
    await eventOf(server, 'listening');
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    later(() => session.destroy());
    session.on('error', () => {});
    const answers = [1, 2, 3].map(() => {
      const stream = session.request({ ':path': '/' });
      let text = '';
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      return new Promise<string>((resolve, reject) =>
        stream.once('end', () => resolve(text)).once('error', reject),
      );
    });
    await until(() => streams.length === 3, 'three streams');
    const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
    later(() => drain.stop());
    await soon(eventOf(session, 'goaway'), 'a GOAWAY');
    for (const stream of streams) {
      stream.respond({ ':status': 200 });
      stream.end('whole');
    }
    assert.deepEqual(await Promise.all(answers), ['whole', 'whole', 'whole']);
    await soon(drain.finished, 'the end');
    assert.deepEqual(drain.cut, []);
    assert.equal(drain.drained, 1);
  });

  tidy(
    'answers requests of HTTP/2 that were on their way when their session was told to go',
    async (later) => {
      const { session, drain, tracker, tell } = await http2Side(later);
      const handle = handleOf(tracker.all()[0]?.socket as Socket);
      // What the client sends now has arrived, and is not read when the GOAWAY goes out.
      handle?.readStop();
      const stream = session.request({ ':path': '/' });
      const answer = eventOf<[{ ':status'?: number }]>(stream, 'response');
      stream.resume();
      await until(() => isReadable(handle?.fd ?? -1), 'a request that waits');
      tell();
      await soon(eventOf(session, 'goaway'), 'a GOAWAY');
      handle?.readStart();
      assert.equal((await soon(answer, 'the answer'))[0][':status'], 200);
      await soon(drain().finished, 'the end');
      assert.deepEqual(drain().cut, []);
    },
  );

  tidy(
    'takes back at an undo the end of an HTTP/2 session over TLS that still has an open stream',
    async (later) => {
      const server = createSecureServer(selfSigned());
      const streams: ServerHttp2Stream[] = [];
      server.on('stream', (stream) => streams.push(stream));
      trackHttp2Sessions(server);
      const { tracker } = await trackedServer(later, server);
      const { port } = server.address() as AddressInfo;
      const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
      later(() => session.destroy());
      const answered = async (n: number) => {
        const stream = session.request({ ':path': '/' });
        const answer = eventOf<[{ ':status'?: number }]>(stream, 'response');
        stream.resume();
        await until(() => streams.length === n, 'a stream');
        return async () => {
          streams[n - 1]?.respond({ ':status': 200 });
          streams[n - 1]?.end('whole');
          assert.equal((await soon(answer, 'the answer'))[0][':status'], 200);
        };
      };
      const first = await answered(1);
      const drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
      drain.stop();
      await first();
      await (await answered(2))();
      assert.equal(session.closed, false);
    },
  );

  tidy('tells an HTTP/2 session to go that begins while others are told', async (later) => {
    const { drain, tell, connect, tracker } = await http2Side(later);
    tell();
    const late = connect();
    await soon(eventOf(late, 'goaway'), 'a GOAWAY');
    await soon(drain().finished, 'the end');
    assert.equal(tracker.size, 0);
    assert.deepEqual(drain().cut, []);
  });
});

/** A server of HTTP/2 that answers all at once, with one session. */
async function http2Side(later: Later) {
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('whole');
  });
  trackHttp2Sessions(server);
  const { tracker } = await trackedServer(later, server);
  const connect = () => {
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    later(() => session.destroy());
    session.on('error', () => {});
    return session;
  };
  const session = connect();
  await eventOf(session, 'localSettings');
  let drain: Drain | undefined;
  return {
    session,
    tracker,
    connect,
    drain: () => drain as Drain,
    tell: () => {
      drain = new Drain(tracker, [server], { timeoutMs: 60_000, spreadMs: 0 }, always, always);
      later(() => drain?.stop());
    },
  };
}
