// mosquitto: one session that generations resume one after another, with messages of QoS 1 and 2.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mqttSession } from 'moult/mqtt';
import { connect, connectAsync } from 'mqtt';
import { freePort } from '../../scripts/free-ports.mjs';
import { Program } from './program.mjs';

const program = '/usr/sbin/mosquitto';
const CLIENT = 'worker';
const MOST_ON_THEIR_WAY = 10;
/** By the address of each server that was started here, what it notes. */
const logs = new Map();

export default {
  program,
  debianPackage: 'mosquitto',
  changeovers: ['exclusive'],
  onceInOverlap: false,
  // With more than one in flight, mosquitto sends new messages before those that it sends again.
  keepsOrder: false,
  // One to see that the broker answers, one to consume.
  connectionsPerGeneration: 2,

  async server(folder, more = []) {
    const port = await freePort();
    const settings = join(folder, 'mosquitto.conf');
    const log = join(folder, 'mosquitto.log');
    const url = `mqtt://127.0.0.1:${port}`;
    logs.set(url, log);
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'user root',
      'persistence true',
      `persistence_location ${folder}/`,
      'max_queued_messages 0',
      ...more,
      `log_dest file ${log}`,
      'log_type all',
    ];
    writeFileSync(settings, `${lines.join('\n')}\n`);
    const running = new Program(program, ['-c', settings], port, folder);
    await running.start();
    return {
      url,
      get pid() {
        return running.pid;
      },
      start: () => running.start(),
      stop: (signal) => running.stop(signal),
      accepted: async () => readFileSync(log, 'utf8').split(': New client connected from').length - 1,
    };
  },

  /** The session is there before anyone sends. */
  async prepare(url) {
    const client = await connectAsync(url, { clientId: CLIENT, clean: false });
    await client.subscribeAsync('numbers', { qos: 2 });
    await client.endAsync();
  },

  /** Mosquitto throws out a client that has more than 20 messages of QoS 2 on their way to it. */
  async producer(url) {
    const clientId = `producer-${Math.random().toString(36).slice(2)}`;
    const client = await connectAsync(url, { clientId, clean: false });
    const onTheirWay = new Set();
    let last = Promise.resolve();
    const begin = async (n) => {
      while (onTheirWay.size >= MOST_ON_THEIR_WAY) await Promise.race(onTheirWay);
      const sent = client.publishAsync('numbers', String(n), { qos: n % 2 === 0 ? 1 : 2 });
      onTheirWay.add(sent);
      sent.finally(() => onTheirWay.delete(sent));
      return { sent };
    };
    return {
      async send(n) {
        last = last.then(() => begin(n));
        await (await last).sent;
      },
      async close() {
        await last;
        await client.endAsync();
      },
    };
  },

  /** By what the broker has noted: it tells nobody of a session, and to resume it would end its owner's connection. */
  async left(url) {
    const notes = readFileSync(logs.get(url), 'utf8');
    const count = (pattern) => [...notes.matchAll(pattern)].length;
    const settled = count(/: Received (PUBACK|PUBREC) from worker /g);
    return Math.max(0, count(/: Received PUBLISH from .*'numbers'/g) - settled);
  },

  consumer: ({ url, handle }) =>
    mqttSession({
      connect: (session) => connect(url, { clientId: CLIENT, reconnectPeriod: 100, ...session }),
      topics: { numbers: { qos: 2 } },
      handle: ({ payload }, { epoch }) => handle(Number(payload), epoch),
    }),
};
