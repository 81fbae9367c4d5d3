import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cp, mkdir } from 'node:fs/promises';
import http2 from 'node:http2';
import path from 'node:path';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import type { Target } from '#moult/verify/client/target.js';
import { makeCertificate } from './certificate.js';
import { askOnce, json, RawClient } from './raw-client.js';
import { fixture, pointAt, type Supervised, until, withFolder, within, withService } from './supervised.js';

const get = (url: string, headers = '') => `GET ${url} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`;

interface Shapes {
  readonly service: Supervised;
  readonly target: Target;
  /** A connection, closed at the end. */
  connect(): Promise<RawClient>;
}

/** Runs the service that has a path for every shape of an exchange. */
async function withShapes(
  options: { env?: Record<string, string>; runOptions?: readonly string[] },
  test: (shapes: Shapes) => Promise<void>,
): Promise<void> {
  await withService({ command: [fixture('shapes.mjs')], ...options }, async (service) => {
    const target = await service.target();
    const clients: RawClient[] = [];
    const connect = async () => {
      const client = await RawClient.connect(target);
      clients.push(client);
      return client;
    };
    try {
      await test({ service, target, connect });
    } finally {
      for (const client of clients) client.close();
    }
  });
}

/** Asks on this connection until that process answers. */
async function movesTo(client: RawClient, pid: number): Promise<void> {
  await until(`process ${pid} answers on the connection`, async () => {
    const response = await client.get('/pid');
    return response.body.toString() === String(pid);
  });
}

describe('across a restart', () => {
  it('what a client had sent half of is served whole by the predecessor, and the connection moves then', async () => {
    await withShapes({}, async ({ service, connect }) => {
      const first = await service.current();
      const begun: Record<string, { before: string; after: string; expects: RegExp; waitsFor?: RegExp }> = {
        'a head': {
          before: 'GET /pid HTTP/1.1\r\nHo',
          after: 'st: test\r\n\r\n',
          expects: new RegExp(`^${first.pid}$`),
        },
        'a long body': {
          before: `POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n${'a'.repeat(100_000)}`,
          after: 'b'.repeat(100_000),
          expects: new RegExp(`"generation":"${first.pid}".*"bytes":200000`),
        },
        'a chunked body': {
          before:
            'POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n wo',
          after: 'rld\r\n0\r\n\r\n',
          expects: new RegExp(`"generation":"${first.pid}".*"bytes":11`),
        },
        'a request that was told to continue': {
          before: 'POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
          waitsFor: /^HTTP\/1.1 100 Continue\r\n/,
          after: 'hello',
          expects: new RegExp(`"generation":"${first.pid}".*"bytes":5`),
        },
        'a body whose response came early': {
          before: `POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n0123456789`,
          waitsFor: /early \d+/,
          after: '0123456789',
          expects: new RegExp(`^early ${first.pid}$`),
        },
      };
      const clients = new Map<string, RawClient>();
      for (const [name, { before, waitsFor }] of Object.entries(begun)) {
        const client = await connect();
        clients.set(name, client);
        client.write(before);
        if (waitsFor !== undefined) await client.reads(waitsFor);
      }
      await until('all have arrived', async () => ((await service.current()).inFlight ?? 0) >= 4);
      await service.restart();
      const second = await service.current();
      assert.notEqual(second.pid, first.pid);
      for (const [name, { after, expects }] of Object.entries(begun)) {
        const client = clients.get(name) as RawClient;
        client.write(after);
        const response = await until(`${name} is answered`, () =>
          client.responses.find(({ status }) => status === 200),
        );
        assert.match(response.body.toString().trim(), expects, name);
        await movesTo(client, second.pid);
      }
      assert.equal(await service.alone(), second.pid);
    });
  });

  it('pipelined bursts are answered once each and in order', async () => {
    await withShapes({}, async ({ service, connect }) => {
      const client = await connect();
      let asked = 0;
      const burst = () => {
        const ids = Array.from({ length: 40 }, () => asked++);
        client.write(ids.map((id) => get('/', `X-Moult-Id: ${id}\r\n`)).join(''));
      };
      burst();
      let isOver = false;
      const restart = service.restart().finally(() => {
        isOver = true;
      });
      await until('the restart is over', async () => {
        burst();
        await client.response(asked - 1);
        return isOver;
      });
      await restart;
      burst();
      await client.response(asked - 1);
      const answers = client.responses.map(json);
      assert.deepEqual(
        answers.map(({ id }) => Number(id)),
        answers.map((_answer, i) => i),
      );
      const generations = [...new Set(answers.map(({ generation }) => generation))];
      assert.equal(generations.length, 2);
      assert.equal(generations[1], String((await service.current()).pid));
    });
  });

  it('moved connections keep the rest of their meaning: HEAD, 100-continue, Connection: close', async () => {
    await withShapes({}, async ({ service, connect }) => {
      const [one, two] = [await connect(), await connect()];
      for (const client of [one, two]) await client.get('/pid');
      await service.restart();
      const { pid } = await service.current();
      one.write('HEAD /pid HTTP/1.1\r\nHost: test\r\n\r\n');
      await one.reads(/\d+HTTP\/1.1 200 OK\r\n(.+\r\n)+\r\n$/);
      one.close();
      two.write('POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
      await two.reads(/100 Continue\r\n\r\n$/);
      two.write('ok');
      await two.reads(new RegExp(`"generation":"${pid}".*"bytes":2`));
      two.write(get('/pid', 'Connection: close\r\n'));
      assert.equal(await two.ends(), 'end');
      assert.match(two.text, new RegExp(`Connection: close\r\n[\\s\\S]*${pid}$`));
    });
  });

  it('keepAliveTimeout goes on with what was left of it', async () => {
    await withShapes({ env: { KEEP_ALIVE_MS: '5000' } }, async ({ service, connect }) => {
      const client = await connect();
      await client.get('/pid');
      const answeredMs = performance.now();
      do await service.restart();
      while (performance.now() - answeredMs < 2500);
      const restartedMs = performance.now() - answeredMs;
      await client.ends();
      const tookMs = performance.now() - answeredMs;
      // Node adds up to a second. Begun anew, it would take 5 seconds from the last restart on.
      assert.ok(tookMs > 4500 && tookMs < restartedMs + 4900, `closed after ${tookMs} ms`);
    });
  });

  it('headersTimeout of a connection that has sent nothing goes on with what was left of it', async () => {
    await withShapes({ env: { HEADERS_MS: '5000' } }, async ({ service, connect }) => {
      const client = await connect();
      const connectedMs = performance.now();
      do await service.restart();
      while (performance.now() - connectedMs < 2500);
      const restartedMs = performance.now() - connectedMs;
      await client.ends();
      const tookMs = performance.now() - connectedMs;
      assert.ok(tookMs > 4500 && tookMs < restartedMs + 4900, `closed after ${tookMs} ms`);
      assert.match(client.text, /^HTTP\/1.1 408 /);
    });
  });

  it('maxRequestsPerSocket counts the requests of both generations', async () => {
    await withShapes({ env: { MAX_REQUESTS: '4' } }, async ({ service, connect }) => {
      const client = await connect();
      await client.get('/pid');
      await client.get('/pid');
      await service.restart();
      assert.equal((await client.get('/pid')).closes, false);
      assert.equal((await client.get('/pid')).closes, true);
      assert.equal(await client.ends(), 'end');
    });
  });

  it('a long download ends whole at the predecessor while the successor serves, and then moves', async () => {
    await withShapes({}, async ({ service, target, connect }) => {
      const first = await service.current();
      const client = await connect();
      client.write(get('/download'));
      await client.reads(/more/);
      await service.restart();
      const second = await service.current();
      assert.equal(JSON.parse(JSON.stringify(await askOnce(target))), String(second.pid));
      process.kill(first.pid, 'SIGUSR2');
      const response = await client.response(0);
      assert.match(response.body.toString(), new RegExp(`^begin ${first.pid}\n(more\n)+end\n$`));
      await movesTo(client, second.pid);
    });
  });

  it('an event stream goes on at the predecessor, and is cut and named at the drain timeout', async () => {
    const runOptions = ['--drain-timeout', '2s', '--probation', '50ms'];
    await withShapes({ runOptions }, async ({ service, target, connect }) => {
      const first = await service.current();
      const client = await connect();
      client.write(get('/sse'));
      await client.reads(/data: \d+ 1\n/);
      const restart = service.restart();
      await until('the second accepts', async () => (await askOnce(target)) !== String(first.pid));
      const events = () => [...client.text.matchAll(/data: (\d+) \d+\n/g)].length;
      // From here on: the command says that all went well only a second later, half of the time-out.
      const before = events();
      await restart;
      await service.logs(/generation 1: cut the connection of 127\.0\.0\.1:\d+ .*response was not finished/);
      await client.ends();
      assert.ok(events() > before + 5, `${events()} events, ${before} of them before the second accepted`);
      const pids = new Set([...client.text.matchAll(/data: (\d+) /g)].map((match) => Number(match[1])));
      assert.deepEqual([...pids], [first.pid]);
      await service.alone();
    });
  });

  it('what is cut at the drain timeout is named in the result, for who waits for it', async () => {
    const runOptions = ['--drain-timeout', '1s', '--probation', '50ms'];
    await withShapes({ runOptions }, async ({ service, connect }) => {
      const client = await connect();
      client.write(get('/sse'));
      await client.reads(/data: \d+ 1\n/);
      const { cut, cutConnections, draining } = await service.restart('--wait=drained');
      assert.equal(cut, 1);
      assert.equal(draining, 0);
      assert.equal(cutConnections?.length, 1);
      const [{ peer, ageMs, reason }] = cutConnections as [NonNullable<typeof cutConnections>[number]];
      assert.match(peer, /^127\.0\.0\.1:\d+$/);
      assert.ok(ageMs > 0);
      assert.match(reason, /response was not finished/);
      await client.ends();
    });
  });

  it('the service notices that a client left in the middle of a long response', async () => {
    await withShapes({}, async ({ service, connect }) => {
      const first = await service.current();
      const clients = [await connect(), await connect()];
      for (const client of clients) {
        client.write(get('/download'));
        await client.reads(/more/);
      }
      const restart = service.restart();
      clients[0]?.close();
      await service.writes(new RegExp(`CLIENT LEFT ${first.pid}`));
      await restart;
      clients[1]?.close();
      await service.writes(new RegExp(`CLIENT LEFT ${first.pid}[\\s\\S]*CLIENT LEFT ${first.pid}`));
    });
  });
});

describe('across a restart to another path', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`clients resume their sessions of ${version}`, async () => {
      await withFolder(async (folder) => {
        makeCertificate(folder);
        for (const release of ['1', '2']) {
          await mkdir(path.join(folder, release));
          for (const file of ['https.mjs', 'echo.cjs'])
            await cp(fixture(file), path.join(folder, release, file));
        }
        const link = path.join(folder, 'current');
        await pointAt(link, path.join(folder, '1'));
        const options = { command: [path.join(link, 'https.mjs')], env: { CERTIFICATE: folder } };
        await withService(options, async (service) => {
          const target = await service.target();
          const { session, reused } = await visit(target, version);
          assert.equal(reused, false);
          assert.equal((await visit(target, version, session)).reused, true, 'at the same generation');
          await pointAt(link, path.join(folder, '2'));
          await service.restart();
          assert.equal((await visit(target, version, session)).reused, true, 'at the successor');
        });
      });
    });
  }
});

/** Asks once over TLS; the session to resume, and whether this one was resumed. */
async function visit(
  target: { host: string; port: number },
  version: 'TLSv1.2' | 'TLSv1.3',
  session?: Buffer,
): Promise<{ session: Buffer; reused: boolean }> {
  const socket = tls.connect({
    ...target,
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
    ...(session === undefined ? {} : { session }),
  });
  const news: Buffer[] = [];
  socket.on('session', (one: Buffer) => news.push(one));
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  try {
    await within('TLS is agreed', once(socket, 'secureConnect'));
    const reused = socket.isSessionReused();
    socket.write(get('/', 'Connection: close\r\n'));
    await until('the answer and a ticket have come', () => text.includes('"generation"'));
    return { session: news.at(-1) ?? socket.getSession() ?? session ?? Buffer.alloc(0), reused };
  } finally {
    socket.destroy();
  }
}

describe('HTTP/2 sessions at a restart', () => {
  it('are told to go, and streams in flight finish at the predecessor', async () => {
    await withService(
      { command: [fixture('h2c.mjs')], runOptions: ['--probation', '50ms'] },
      async (service) => {
        const target = await service.target();
        const first = await service.current();
        const client = http2.connect(`http://${target.host}:${target.port}`);
        client.on('error', () => {});
        try {
          const goneAway = once(client, 'goaway');
          const slow = ask(client, '/slow');
          await until('the stream is in flight', () => slow.text().startsWith('begin'));
          await service.restart();
          await within('the client is told to go', goneAway);
          const second = await service.current();
          process.kill(first.pid, 'SIGUSR2');
          assert.equal(await within('the stream finishes', slow.whole), `begin ${first.pid}`);
          const again = http2.connect(`http://${target.host}:${target.port}`);
          assert.equal(await within('a new session is served', ask(again, '/').whole), String(second.pid));
          again.close();
          assert.equal(await service.alone(), second.pid);
        } finally {
          client.destroy();
        }
      },
    );
  });
});

function ask(client: http2.ClientHttp2Session, url: string): { whole: Promise<string>; text: () => string } {
  const stream = client.request({ ':path': url });
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const whole = once(stream, 'end').then(() => text);
  whole.catch(() => {});
  return { whole, text: () => text };
}
