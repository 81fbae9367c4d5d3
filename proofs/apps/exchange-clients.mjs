// Clients of protocols whose connections end by themselves: each begins an exchange, finishes it, and begins the next.
// An exchange that was begun and did not come to its end has failed.
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const LIMIT_MS = 20_000;
const PAUSE_MS = 40;

/** Starts `count` clients of a protocol. `stop()` waits for the exchanges under way and gives what was seen. */
export function startExchanges(protocol, port, count) {
  const exchange = { smtp: smtpExchange, mqtt: mqttExchange, ftp: ftpExchange, tcp: connectOnly }[protocol];
  const seen = { done: 0, failed: [] };
  let isOver = false;
  const client = async (number) => {
    for (let n = 0; !isOver; n += 1) {
      try {
        await exchange(port, `${number}-${n}`);
        seen.done += 1;
      } catch (error) {
        seen.failed.push(`${protocol}: ${error.message}`);
      }
      await pause(PAUSE_MS * (0.5 + Math.random()));
    }
  };
  const all = Array.from({ length: count }, (_, number) => client(number));
  return {
    stop: async () => {
      isOver = true;
      await Promise.all(all);
      return seen;
    },
  };
}

async function smtpExchange(port, id) {
  const socket = await connect(port);
  try {
    const lines = replies(socket);
    await expectReply(lines, '220');
    for (const [line, code] of [
      ['EHLO client.example.com', '250'],
      ['MAIL FROM:<a@example.com>', '250'],
      ['RCPT TO:<b@example.com>', '250'],
      ['DATA', '354'],
      [`Subject: ${id}\r\n\r\nsome text\r\n.`, '250'],
      ['QUIT', '221'],
    ]) {
      socket.write(`${line}\r\n`);
      await expectReply(lines, code, line.split(/[\r ]/)[0]);
    }
  } finally {
    socket.destroy();
  }
}

/** Fetches the list of a folder by a passive port: a listener of that session alone. */
async function ftpExchange(port) {
  const socket = await connect(port);
  const lines = replies(socket);
  const ask = async (line, code) => {
    if (line !== undefined) socket.write(`${line}\r\n`);
    return expectReply(lines, code, line?.split(' ')[0]);
  };
  try {
    await ask(undefined, '220');
    await ask('USER anonymous', '230');
    const where = await ask('PASV', '227');
    const [high, low] = where.match(/(\d+),(\d+)\)/).slice(1);
    const data = await connect(Number(high) * 256 + Number(low));
    let list = '';
    data.setEncoding('utf8').on('data', (text) => {
      list += text;
    });
    data.on('error', () => {}); // once() tells of it.
    await Promise.all([once(data, 'end'), ask('LIST', '150')]);
    data.destroy();
    await ask(undefined, '226');
    if (!list.includes('index.html')) throw new Error(`expected index.html in the list, received ${list}`);
    await ask('QUIT', '221');
  } finally {
    socket.destroy();
  }
}

async function mqttExchange(port, id) {
  const { default: mqtt } = await import('mqtt');
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    reconnectPeriod: 0,
    clientId: `client-${id}-${process.pid}`,
  });
  const cut = new Promise((_, reject) => {
    client.once('error', reject);
    client.once('close', () => reject(new Error('the connection was closed')));
  });
  try {
    const work = async () => {
      await once(client, 'connect');
      await client.subscribeAsync(`t/${id}`, { qos: 1 });
      const message = once(client, 'message');
      await client.publishAsync(`t/${id}`, id, { qos: 1 });
      const [, payload] = await message;
      if (String(payload) !== id) throw new Error(`expected ${id}, received ${payload}`);
    };
    await Promise.race([work(), cut, late()]);
  } finally {
    cut.catch(() => {});
    client.end(true);
  }
}

async function connectOnly(port) {
  (await connect(port)).destroy();
}

async function connect(port) {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error(`nothing came for ${LIMIT_MS} ms`)));
  return socket;
}

/** Whole replies, the last line of each. */
async function* replies(socket) {
  let text = '';
  for await (const chunk of socket) {
    text += chunk;
    let end = text.indexOf('\r\n');
    for (; end !== -1; end = text.indexOf('\r\n')) {
      const line = text.slice(0, end);
      text = text.slice(end + 2);
      if (line[3] !== '-') yield line;
    }
  }
}

async function expectReply(lines, code, after = 'the connect') {
  const { value, done } = await lines.next();
  if (done) throw new Error(`the connection was closed after ${after}`);
  if (!value.startsWith(code)) throw new Error(`expected ${code} after ${after}, received ${value}`);
  return value;
}

async function late() {
  await pause(LIMIT_MS, undefined, { ref: false });
  throw new Error(`not done within ${LIMIT_MS} ms`);
}
