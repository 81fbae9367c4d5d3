import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Load, LoadOptions, LoadReport } from '#moult/verify/load.js';
import { startLoad } from '../support/load.js';
import { echoAnswer, goodServer, type Misbehaviour, rawServer } from './misbehaving-server.js';

/** Waits until the load has seen enough, then stops it. */
async function until(load: Load, enough: (load: Load) => boolean, deadlineMs?: number): Promise<LoadReport> {
  const giveUpAtMs = load.nowMs() + 10_000;
  while (!enough(load)) {
    if (load.nowMs() > giveUpAtMs) {
      const report = await load.stop(0);
      assert.fail(`never happened: ${JSON.stringify(report.total)}`);
    }
    await pause(2);
  }
  return load.stop(deadlineMs);
}

const failures = (load: Load) => {
  const { failed, lost, duplicated } = load.snapshot().total;
  return failed + lost + duplicated;
};

/** One kept-alive client of the echo protocol against a raw server, until something went wrong. */
async function against(onRequest: Misbehaviour, options: Partial<LoadOptions> = {}, count = 1) {
  const server = await rawServer(onRequest);
  const load = startLoad({
    target: server.target,
    check: 'echo',
    clients: { 'kept-alive': 1 },
    thinkMs: 1,
    ...options,
  });
  try {
    return await until(load, () => failures(load) >= count, 0);
  } finally {
    await load.stop(0);
    await server.close();
  }
}

describe('the strict client against a good server', () => {
  it('counts nothing as failed, lost or duplicated, for every kind', async () => {
    const server = await goodServer('g7');
    const load = startLoad({
      target: server.target,
      check: 'echo',
      thinkMs: 1,
      clients: { 'kept-alive': 5, pipelined: 5, 'slow-body': 5, 'new-connection': 5 },
    });
    load.markWindow(0, 50);
    const report = await until(load, () =>
      Object.values(load.snapshot().kinds).every((counts) => counts.answered >= 100),
    );
    await server.close();
    assert.equal(report.ok, true, JSON.stringify(report.failures.slice(0, 3)));
    assert.deepEqual(report.total.reasons, {});
    assert.equal(report.total.requests, report.total.answered);
    assert.deepEqual(report.total.generations, { g7: report.total.answered });
    assert.deepEqual(report.total.statuses, { 200: report.total.answered });
    for (const kind of report.kinds) {
      assert.equal(kind.redials, 0, kind.kind);
      assert.equal(kind.steady.count + kind.during.count, kind.answered);
      assert.ok(kind.steady.p50Ms > 0 && kind.steady.p50Ms <= kind.steady.p99Ms);
      assert.ok(kind.steady.p99Ms <= kind.steady.maxMs);
    }
    assert.equal(
      report.timeline.reduce((sum, bucket) => sum + bucket.answered, 0),
      report.total.answered,
    );
  });

  it('has several requests in flight on a pipelined connection', async () => {
    let waiting = 0;
    let most = 0;
    const server = await rawServer((socket, id) => {
      waiting += 1;
      most = Math.max(most, waiting);
      setImmediate(() => {
        waiting -= 1;
        socket.write(echoAnswer(id));
      });
    });
    const load = startLoad({ target: server.target, check: 'echo', thinkMs: 1, clients: { pipelined: 1 } });
    const report = await until(load, () => load.snapshot().total.answered >= 200);
    await server.close();
    assert.equal(report.ok, true);
    assert.ok(most > 1 && most <= 4, `${most} at once`);
  });

  it('speaks over a Unix socket', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'moult-test-'));
    await chmod(folder, 0o700);
    const socketPath = path.join(folder, 's');
    const server = http.createServer((_request, response) => response.end('plain')).listen(socketPath);
    await once(server, 'listening');
    const load = startLoad({
      target: { socketPath },
      thinkMs: 1,
      clients: { 'kept-alive': 2, 'slow-body': 1 },
    });
    const report = await until(load, () => load.snapshot().total.answered >= 20);
    server.close();
    await once(server, 'close');
    await rm(folder, { recursive: true });
    assert.equal(report.ok, true);
  });

  it('takes a whole answer below 500 as success in plain mode, and tells the statuses', async () => {
    const server = await rawServer((socket) => {
      socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno');
    });
    const load = startLoad({ target: server.target, thinkMs: 1, clients: { 'kept-alive': 1 } });
    const report = await until(load, () => load.snapshot().total.answered >= 3);
    await server.close();
    assert.equal(report.ok, true);
    assert.deepEqual(report.total.statuses, { 404: report.total.answered });
  });

  it('waits for the answers in flight when it is stopped', async () => {
    let answer = () => {};
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const server = await rawServer((socket, id) => {
      answer();
      setTimeout(() => socket.write(echoAnswer(id)), 30);
    });
    const load = startLoad({
      target: server.target,
      check: 'echo',
      thinkMs: 0,
      clients: { 'kept-alive': 1 },
    });
    await asked;
    const report = await load.stop();
    await server.close();
    assert.equal(report.total.answered, 1);
    assert.equal(report.ok, true);
  });
});

describe('the strict client counts', () => {
  it('a connection closed while idle as lost', async () => {
    const server = await rawServer((socket, id) => socket.end(echoAnswer(id)));
    const load = startLoad({
      target: server.target,
      check: 'echo',
      thinkMs: 50,
      clients: { 'kept-alive': 1 },
    });
    const report = await until(load, () => load.snapshot().total.lost >= 2);
    await server.close();
    assert.ok(report.total.lost >= 2, JSON.stringify(report.total));
    assert.equal(report.failures[0]?.reason, 'closed-while-idle');
    assert.equal(report.failures[0]?.what, 'lost');
    assert.equal(report.failures[0]?.answeredBefore, 1);
    assert.equal(report.total.failed, 0);
    assert.equal(report.ok, false);
  });

  it('a connection closed after "Connection: close" as told to close, not as lost', async () => {
    const server = await rawServer((socket, id) => socket.end(echoAnswer(id, 'Connection: close\r\n')));
    const load = startLoad({
      target: server.target,
      check: 'echo',
      thinkMs: 1,
      clients: { 'kept-alive': 1 },
    });
    const report = await until(load, () => load.snapshot().total.redials >= 3);
    await server.close();
    assert.equal(report.ok, true);
    assert.equal(report.total.lost, 0);
    assert.equal(report.total.toldToClose, report.total.answered);
  });

  it('no redial and no loss for clients that open a connection each time', async () => {
    const server = await rawServer((socket, id) => socket.end(echoAnswer(id, 'Connection: close\r\n')));
    const load = startLoad({
      target: server.target,
      check: 'echo',
      thinkMs: 1,
      clients: { 'new-connection': 2 },
    });
    const report = await until(load, () => load.snapshot().total.answered >= 10);
    await server.close();
    assert.equal(report.ok, true);
    assert.equal(report.total.redials + report.total.toldToClose, 0);
  });

  it('a request whose connection ends before the response as closed-before-response', async () => {
    const report = await against((socket) => socket.end());
    assert.equal(report.failures[0]?.reason, 'closed-before-response');
    assert.equal(report.total.lost, 0);
  });

  it('a request whose connection is reset inside the response as reset', async () => {
    // Closing a socket with unread bytes is what makes the kernel send a reset.
    const report = await against(
      (socket) => {
        socket.pause();
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
        setTimeout(() => socket.destroy(), 50); // the rest of the body comes within 48 ms
      },
      { clients: { 'slow-body': 1 }, requests: { 'slow-body': { body: 'x'.repeat(4_000_000) } } },
    );
    assert.equal(report.failures[0]?.reason, 'reset');
  });

  it('a response cut short as truncated', async () => {
    const report = await against((socket) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'),
    );
    assert.equal(report.failures[0]?.reason, 'truncated');
    const head = await against((socket) => socket.end('HTTP/1.1 200 OK\r\nConte'));
    assert.equal(head.failures[0]?.reason, 'truncated');
  });

  it('garbage as bad-response', async () => {
    const report = await against((socket) => socket.write('hello there\r\n'));
    assert.equal(report.failures[0]?.reason, 'bad-response');
  });

  it('a second answer as duplicated, while idle and while the next one is awaited', async () => {
    const idle = await against((socket, id) => socket.write(echoAnswer(id) + echoAnswer(id)));
    assert.ok(idle.total.duplicated >= 1);
    assert.equal(idle.failures[0]?.reason, 'unasked-response');

    let first = '';
    const awaited = await against((socket, id, n) => {
      if (n === 1) first = id;
      socket.write(n === 2 ? echoAnswer(first) + echoAnswer(id) : echoAnswer(id));
    });
    assert.equal(awaited.total.duplicated, 1);
    assert.equal(awaited.total.failed, 0);
    assert.equal(awaited.failures[0]?.id, first);
  });

  it('pipelined answers in the wrong order as wrong-id', async () => {
    const held: string[] = [];
    const report = await against(
      (socket, id) => {
        held.push(id);
        setImmediate(() => {
          const [a, b] = held.splice(0, 2);
          if (b !== undefined) socket.write(echoAnswer(b));
          if (a !== undefined) socket.write(echoAnswer(a));
        });
      },
      { clients: { pipelined: 1 } },
      2,
    );
    assert.equal(report.failures[0]?.reason, 'wrong-id');
    assert.equal(report.failures[1]?.reason, 'wrong-id');
    assert.equal(report.total.duplicated, 0);
  });

  it('every pipelined request behind one that was cut as failed', async () => {
    const report = await against(
      (socket, id, n) => {
        if (n < 2) socket.write(echoAnswer(id));
        else setImmediate(() => socket.end());
      },
      { clients: { pipelined: 1 }, thinkMs: 0 },
      6,
    );
    assert.equal(report.total.lost, 0);
    assert.ok(report.failures.some((failure) => failure.detail.startsWith('in flight behind')));
  });

  it('pipelined requests behind "Connection: close" as failed', async () => {
    const report = await against(
      (socket, id, n) => {
        if (n === 1) socket.write(echoAnswer(id));
        else if (n === 2) socket.end(echoAnswer(id, 'Connection: close\r\n'));
      },
      { clients: { pipelined: 1 }, thinkMs: 0 },
    );
    assert.equal(report.failures[0]?.reason, 'closed-before-response');
    assert.ok(report.total.toldToClose >= 1);
  });

  it('5xx and 408 as failed', async () => {
    const status = (line: string) => (socket: { write(text: string): unknown }) => {
      socket.write(`HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`);
    };
    const unavailable = await against(status('503 Service Unavailable'), { check: 'plain' });
    assert.equal(unavailable.failures[0]?.reason, 'status-5xx');
    assert.equal(unavailable.total.redials, 0);
    const timeout = await against(status('408 Request Timeout'), { check: 'plain' });
    assert.equal(timeout.failures[0]?.reason, 'status-408');
  });

  it('a body that arrived changed as wrong-body', async () => {
    const server = http.createServer((request, response) => {
      request.resume().on('end', () => {
        response.end(
          JSON.stringify({ id: request.headers['x-moult-id'], generation: 1, bytes: 1, sha1: 'x' }),
        );
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address !== 'string');
    const load = startLoad({
      target: { host: '127.0.0.1', port: address.port },
      check: 'echo',
      thinkMs: 1,
      clients: { 'slow-body': 1 },
    });
    const report = await until(load, () => failures(load) >= 2);
    server.close();
    await once(server, 'close');
    assert.deepEqual(report.total.reasons, { 'wrong-body': report.total.failed });
  });

  it('a refused connect as a failed request', async () => {
    const server = await goodServer();
    await server.close();
    const load = startLoad({ target: server.target, thinkMs: 1, clients: { 'kept-alive': 1, pipelined: 1 } });
    const report = await until(load, () => failures(load) >= 4, 0);
    assert.equal(report.total.reasons.refused, report.total.failed);
    assert.equal(report.total.answered, 0);
    assert.equal(report.ok, false);
  });

  it('a request that is never answered as timeout', async () => {
    const report = await against(() => {}, { requestTimeoutMs: 30 });
    assert.equal(report.failures[0]?.reason, 'timeout');
    assert.ok(report.failures[0].atMs >= 30);
  });

  it('a request unanswered at the end of the load as failed', async () => {
    let asked = () => {};
    const waiting = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const server = await rawServer(() => asked());
    const load = startLoad({ target: server.target, thinkMs: 0, clients: { 'kept-alive': 1 } });
    await waiting;
    const report = await load.stop(20);
    await server.close();
    assert.deepEqual(report.total.reasons, { timeout: 1 });
  });
});
