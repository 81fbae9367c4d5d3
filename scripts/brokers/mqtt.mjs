// mosquitto: one session that generations resume one after another, with messages of QoS 1 and 2.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { mqttSession } from 'moult/mqtt';
import { connect, connectAsync } from 'mqtt';
import { freePort, Program } from './program.mjs';

const program = '/usr/sbin/mosquitto';
const CLIENT = 'worker';
const QUIET_MS = 300;

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
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'user root',
      'persistence true',
      `persistence_location ${folder}/`,
      'max_queued_messages 0',
      ...more,
      `log_dest file ${join(folder, 'mosquitto.log')}`,
      'log_type all',
    ];
    writeFileSync(settings, `${lines.join('\n')}\n`);
    const running = new Program(program, ['-c', settings], port, folder);
    await running.start();
    return {
      url: `mqtt://127.0.0.1:${port}`,
      get pid() {
        return running.pid;
      },
      start: () => running.start(),
      stop: (signal) => running.stop(signal),
      accepted: async () =>
        readFileSync(join(folder, 'mosquitto.log'), 'utf8').split(': New client connected from').length - 1,
    };
  },

  /** The session is there before anyone sends. */
  async prepare(url) {
    const client = await connectAsync(url, { clientId: CLIENT, clean: false });
    await client.subscribeAsync('numbers', { qos: 2 });
    await client.endAsync();
  },

  async producer(url) {
    const client = await connectAsync(url);
    return {
      send: (n) => client.publishAsync('numbers', String(n), { qos: n % 2 === 0 ? 1 : 2 }),
      close: () => client.endAsync(),
    };
  },

  /** Those that the broker begins to send to who resumes the session. None is acknowledged. */
  async left(url) {
    const seen = new Set();
    const put = ({ messageId }) => seen.add(messageId);
    const incomingStore = { put, get() {}, del() {}, close: (done) => done(), createStream() {} };
    const client = connect(url, { clientId: CLIENT, clean: false, reconnectPeriod: 0, incomingStore });
    client.handleMessage = put;
    await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
    await delay(QUIET_MS);
    await client.endAsync(true);
    return seen.size;
  },

  consumer: ({ url, handle }) =>
    mqttSession({
      connect: (session) => connect(url, { clientId: CLIENT, reconnectPeriod: 100, ...session }),
      topics: { numbers: { qos: 2 } },
      handle: ({ payload }, { epoch }) => handle(Number(payload), epoch),
    }),
};
