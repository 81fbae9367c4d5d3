import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { connect as connectTo, type IClientOptions, type MqttClient } from 'mqtt';
import { type Supervised, until, withService } from '../integration/supervised.js';
import { ownRelease } from '../support/own-release.js';

const QOS_2 = 0x34;
const DUP = 0x08;

let own = '';
let copies = '';
before(() => {
  own = mkdtempSync(path.join(tmpdir(), 'moult-examples-'));
  copies = ownRelease('examples', own);
});
after(() => rmSync(own, { recursive: true }));

/** Runs the broker of the example. */
function withBroker(work: (service: Supervised, port: number) => Promise<void>): Promise<void> {
  const command = [path.join(copies, 'aedes/server.mjs')];
  return withService({ command, env: { PORT: '0' } }, async (service) => {
    await work(service, (await service.target()).port);
  });
}

/** A client of MQTT.js; `heard` is what it is sent, without who passed it on. */
async function open(
  port: number,
  options: IClientOptions = {},
): Promise<{ client: MqttClient; heard: string[] }> {
  const client = connectTo(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  const heard: string[] = [];
  // A session's messages come right behind the answer.
  client.on('message', (_topic, payload) => heard.push(String(payload).replace(/ by generation.*/, '')));
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
  return { client, heard };
}

/** A client that knows no library: it sends and awaits packets byte by byte. */
class Raw {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
  }

  /** @param id one character. */
  static async connect(port: number, id: string): Promise<Raw> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const raw = new Raw(socket);
    raw.send(0x10, 13, 0, 4, 'MQTT', 4, 2, 0, 0, 0, 1, id);
    await raw.receives(0x20, 2, 0, 0);
    return raw;
  }

  send(...parts: (number | string)[]): void {
    this.#socket.write(bytesOf(parts));
  }

  /** Waits for exactly these bytes, and nothing else. */
  async receives(...parts: (number | string)[]): Promise<void> {
    const expected = bytesOf(parts);
    await until(`${expected.toString('hex')} is received`, () => this.#received.length >= expected.length);
    assert.equal(this.#received.subarray(0, expected.length).toString('hex'), expected.toString('hex'));
    this.#received = this.#received.subarray(expected.length);
  }

  end(): void {
    this.#socket.destroy();
  }
}

function bytesOf(parts: readonly (number | string)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))));
}

describe('the MQTT broker of the examples', () => {
  it('publishes a message of QoS 2 once that is sent again after the restart, and finishes it', () =>
    withBroker(async (service, port) => {
      const { client, heard } = await open(port);
      await client.subscribeAsync('t', { qos: 2 });
      const raw = await Raw.connect(port, 'r');
      raw.send(QOS_2, 6, 0, 1, 't', 0, 7, 'a');
      await raw.receives(0x50, 2, 0, 7);
      await service.restart();
      raw.send(QOS_2 | DUP, 6, 0, 1, 't', 0, 7, 'a');
      await raw.receives(0x50, 2, 0, 7);
      raw.send(0x62, 2, 0, 7);
      await raw.receives(0x70, 2, 0, 7);
      // What comes after it is not taken for it.
      raw.send(QOS_2, 6, 0, 1, 't', 0, 7, 'b');
      await raw.receives(0x50, 2, 0, 7);
      await until('both are heard', () => heard.length >= 2);
      assert.deepEqual(heard, ['a', 'b']);
      raw.end();
      await client.endAsync();
    }));

  it('has a packet of which half came before the restart, at every byte', () =>
    withBroker(async (service, port) => {
      const { client, heard } = await open(port);
      await client.subscribeAsync('t', { qos: 0 });
      const packet = bytesOf([0x32, 8, 0, 1, 't', 0, 9, 'abc']);
      const raws = await Promise.all([...packet.keys()].map((at) => Raw.connect(port, String(at))));
      for (const [at, raw] of raws.entries()) raw.send(packet.subarray(0, at).toString('latin1'));
      await service.restart();
      for (const [at, raw] of raws.entries()) raw.send(packet.subarray(at).toString('latin1'));
      for (const raw of raws) await raw.receives(0x40, 2, 0, 9);
      await until('all are heard', () => heard.length === packet.length);
      assert.deepEqual(new Set(heard), new Set(['abc']));
      for (const raw of raws) raw.end();
      await client.endAsync();
    }));

  it('deals with many packets that come at once and that nobody hears', () =>
    withBroker(async (_service, port) => {
      const raw = await Raw.connect(port, 'r');
      const packet = [0x30, 0x83, 0x08, 0, 1, 't', 'x'.repeat(1024)];
      for (let n = 0; n < 200; n += 1) raw.send(...packet);
      raw.send(0xc0, 0);
      await raw.receives(0xd0, 0);
      raw.end();
    }));

  it('keeps sessions and retained messages over a restart at which nobody is connected', () =>
    withBroker(async (service, port) => {
      await fallAsleep(port);
      await tell(port, 'while it slept', 'retained');
      await service.restart();
      await wakesUpTo(port, ['while it slept'], 'retained');
    }));

  it('has them again, and what came since, when the restart is undone', () =>
    withBroker(async (service, port) => {
      await fallAsleep(port);
      await tell(port, 'before', 'old');
      await service.restart();
      await tell(port, 'between', 'new');
      const staying = await open(port);
      await staying.client.subscribeAsync('t', { qos: 1 });
      assert.equal((await service.moult('rollback', service.name)).code, 0);
      assert.equal((await service.current()).generation, 1);
      await tell(port, 'after', 'newest');
      await wakesUpTo(port, ['before', 'between', 'after'], 'newest');
      await until('who stayed has heard it', () => staying.heard.length > 0);
      assert.deepEqual(staying.heard, ['after']);
      await staying.client.endAsync();
    }));

  it('has them again when the restart is undone and nobody is connected', () =>
    withBroker(async (service, port) => {
      await fallAsleep(port);
      await service.restart();
      await tell(port, 'between', 'new');
      assert.equal((await service.moult('rollback', service.name)).code, 0);
      await wakesUpTo(port, ['between'], 'new');
    }));

  it('publishes the will of a client that dies after the restart, and not that of one that takes its leave', () =>
    withBroker(async (service, port) => {
      const { client, heard } = await open(port);
      await client.subscribeAsync('wills', { qos: 1 });
      const withWill = (text: string) => ({
        will: { topic: 'wills', payload: Buffer.from(text), qos: 1 as const, retain: false },
      });
      const [dies, leaves] = [await open(port, withWill('dies')), await open(port, withWill('leaves'))];
      await service.restart();
      await leaves.client.endAsync();
      (dies.client.stream as Socket).destroy();
      await until('the will is heard', () => heard.length > 0);
      assert.deepEqual(heard, ['dies']);
      await client.endAsync();
    }));

  it('serves with nothing when the generation before was killed', () =>
    withBroker(async (service, port) => {
      await fallAsleep(port);
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(/generation 2 serves/);
      await tell(port, 'to nobody', 'kept');
      await wakesUpTo(port, [], 'kept');
    }));
});

async function fallAsleep(port: number): Promise<void> {
  const { client } = await open(port, { clientId: 'sleeper', clean: false });
  await client.subscribeAsync('t', { qos: 1 });
  await client.endAsync();
}

async function wakesUpTo(port: number, messages: readonly string[], retained: string): Promise<void> {
  const { client, heard } = await open(port, { clientId: 'sleeper', clean: false });
  await client.subscribeAsync('kept', { qos: 0 });
  await until('what is retained is heard', () => heard.includes(retained));
  assert.deepEqual(heard, [...messages, retained]);
  await client.endAsync();
}

async function tell(port: number, message: string, retained: string): Promise<void> {
  const { client } = await open(port);
  await client.publishAsync('t', message, { qos: 1 });
  await client.publishAsync('kept', retained, { qos: 1, retain: true });
  await client.endAsync();
}
