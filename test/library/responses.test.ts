import assert from 'node:assert/strict';
import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe } from 'node:test';
import { Inflow } from '#moult/connections/adopting/inflow.js';
import { Outflow } from '#moult/connections/moving/outflow.js';
import { movableResponses } from '#moult/library/responses.js';
import { channels } from '../channel/pair.js';
import { carriedTo } from '../connections/raw-servers.js';
import { clientOf, GET, moved, type Side, side } from '../connections/two-servers.js';
import { eventOf, soon, turns, until } from '../support/events.js';
import { type Later, tidy } from '../support/tidy.js';

interface Feed extends Side {
  readonly open: Map<ServerResponse, { next: number }>;
  readonly ended: string[];
  readonly moved: ServerResponse[];
  send(): void;
  finish(): void;
}

/** A generation of a service that sends numbered events, each with its own name. */
async function feed(later: Later, name: string, headers: Record<string, string> = {}): Promise<Feed> {
  const open: Feed['open'] = new Map();
  const ended: string[] = [];
  const gone: ServerResponse[] = [];
  const follow = (response: ServerResponse, state: { next: number }) => {
    open.set(response, state);
    response.on('close', () => ended.push('response'));
    response.req.on('close', () => ended.push('request'));
    response.on('close', () => open.delete(response));
  };
  const base = await side(later, (request, response) => {
    if (request.url !== '/events') {
      response.end(`${name} ${request.url}`);
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream', ...headers });
    response.flushHeaders();
    responses.add(response);
    follow(response, { next: 0 });
  });
  const responses = movableResponses<{ next: number }>(base.server, {
    save: (response) => open.get(response) ?? { next: -1 },
    restore: (response, state) => follow(response, state),
    moved: (response) => {
      open.delete(response);
      gone.push(response);
    },
  });
  const send = () => {
    for (const [response, state] of open) response.write(`id: ${state.next++}\ndata: ${name}\n\n`);
  };
  const finish = () => {
    for (const response of open.keys()) response.end('id: end\n\n');
  };
  return { ...base, open, ended, moved: gone, send, finish };
}

function flow(later: Later, a: Feed, b: Feed): Outflow {
  const [near, far] = channels(later);
  const outflow = new Outflow(near, a.tracker, () => 'web', carriedTo(b.server));
  new Inflow(far, b.tracker, () => b.server);
  near.closed.then(() => outflow.stop());
  later(() => outflow.stop());
  return outflow;
}

async function move(later: Later, a: Feed, b: Feed): Promise<void> {
  const outflow = flow(later, a, b);
  outflow.start();
  await moved(outflow, 1);
  outflow.stop();
}

/** A client of Node's own, on one connection that is kept alive. */
async function follower(later: Later, { server }: Feed) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  later(() => agent.destroy());
  const { port } = server.address() as AddressInfo;
  const ask = (path: string) =>
    soon(
      new Promise<IncomingMessage>((resolve, reject) => {
        get({ port, path, agent, host: '127.0.0.1' }, resolve).on('error', reject);
      }),
      path,
    );
  const response = await ask('/events');
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const ids = () => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  return { response, ask, ids, text: () => text };
}

describe('a stream of events', () => {
  tidy(
    'moves there and back, with no id missing or twice, and its connection lives on after it',
    async (later) => {
      const a = await feed(later, 'a');
      const b = await feed(later, 'b');
      const { response, ask, ids, text } = await follower(later, a);
      for (let i = 0; i < 6; i += 1) {
        const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
        from.send();
        await move(later, from, to);
        to.send();
        to.send();
      }
      await until(() => ids().length === 18, 'all events');
      assert.deepEqual(
        ids(),
        Array.from({ length: 18 }, (_, i) => i),
      );
      assert.match(text(), /data: b/);
      assert.deepEqual([a.ended, b.ended], [[], []], 'somebody heard of an end');
      assert.equal(a.moved.length, 3);
      const { socket } = response;
      a.finish();
      await eventOf(response, 'end');
      assert.match(text(), /id: end/);
      // The connection is one of the server's again, and the next request comes over it.
      const next = await ask('/next');
      assert.equal(next.socket, socket);
      next.setEncoding('utf8');
      const [body] = await eventOf<[string]>(next, 'data');
      assert.equal(body, 'a /next');
    },
  );

  tidy('that was written to while it is on its way has no gap', async (later) => {
    const a = await feed(later, 'a');
    const b = await feed(later, 'b');
    const { ids } = await follower(later, a);
    const outflow = flow(later, a, b);
    outflow.start();
    for (let i = 0; i < 1000 && outflow.moved === 0; i += 1) {
      a.send();
      await turns(1);
    }
    await moved(outflow, 1);
    b.send();
    const next = [...b.open.values()][0]?.next ?? 0;
    await until(() => ids().length === next, 'all events');
    assert.deepEqual(
      ids(),
      Array.from({ length: next }, (_, i) => i),
    );
  });

  tidy('hears in the successor that its client has gone', async (later) => {
    const a = await feed(later, 'a');
    const b = await feed(later, 'b');
    const { response } = await follower(later, a);
    await move(later, a, b);
    response.destroy();
    await until(() => b.ended.length === 2, 'the end');
    assert.deepEqual(b.ended.sort(), ['request', 'response']);
    assert.deepEqual(a.ended, []);
    await until(() => b.tracker.size === 0, 'no connection');
  });

  tidy('with another request behind it stays, and that one is answered after it', async (later) => {
    const a = await feed(later, 'a');
    const b = await feed(later, 'b');
    const client = await clientOf(later, a);
    const events = GET.replace('/', '/events');
    client.socket.write(events);
    await until(() => a.open.size === 1, 'the stream');
    client.socket.write(GET.slice(0, 10));
    await turns(10);
    const outflow = flow(later, a, b);
    outflow.start();
    await turns(20);
    assert.equal(outflow.moved, 0);
    client.socket.write(GET.slice(10));
    a.send();
    a.finish();
    await client.receives('a /');
    await moved(outflow, 1);
  });

  tidy('takes the next request, sent early, when it has ended in the successor', async (later) => {
    const a = await feed(later, 'a');
    const b = await feed(later, 'b');
    const client = await clientOf(later, a);
    client.socket.write(GET.replace('/', '/events'));
    await until(() => a.open.size === 1, 'the stream');
    await move(later, a, b);
    client.socket.write(GET);
    await turns(10);
    b.send();
    b.finish();
    await client.receives('b /');
    assert.ok(client.text().indexOf('id: end') < client.text().indexOf('b /'));
  });

  tidy('that had said close ends its connection', async (later) => {
    const a = await feed(later, 'a', { Connection: 'close' });
    const b = await feed(later, 'b', { Connection: 'close' });
    const client = await clientOf(later, a);
    client.socket.write(GET.replace('/', '/events'));
    await until(() => a.open.size === 1, 'the stream');
    await move(later, a, b);
    b.send();
    b.finish();
    await soon(client.closed, 'the end');
    assert.match(client.text(), /data: b\n\n.*id: end\n\n\r\n0\r\n\r\n$/s);
  });
});
