// a service's handler of 'message' that throws at a datagram that came through the other generation ends the handover.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../support/free-ports.js';
import { answerOrError } from './clients.js';
import { Supervised, until, withFolder } from './supervised.js';

const FIXTURE = `
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { datagramFlows, openService } from 'moult';
const { PORT, UDP_PORT } = process.env;
// As many services do: it goes on after a bad message.
process.on('uncaughtException', (error) => console.log('caught ' + error.message));
const service = openService();
const socket = createSocket('udp4');
const flows = datagramFlows(socket, { key: (message) => String(message).split(' ')[0] });
socket.on('message', (message, { port, address }) => {
  const [flow, word] = String(message).split(' ');
  flows.begin(flow);
  if (word === 'bad') throw new Error('a bad datagram');
  socket.send(service.generation + ' ' + message, port, address);
});
await new Promise((go) => socket.bind(Number(UDP_PORT), '127.0.0.1', go));
const server = createServer((request, response) => setTimeout(() => response.end(String(service.generation)), Number(new URL(request.url, 'http://x').searchParams.get('ms') ?? 0)));
await service.listen(server, Number(PORT), '127.0.0.1');
await service.ready();
`;
describe('a datagram of an older flow at which the handler throws', () => {
  it('does not undo the restart', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'service.mjs');
      writeFileSync(
        file,
        FIXTURE.replace("'moult'", JSON.stringify(new URL('../../../dist/index.js', import.meta.url).href)),
      );
      const port = await freePort();
      const service = await Supervised.start({
        command: [file],
        runtimeFolder: path.join(folder, 'run'),
        env: { PORT: String(port), UDP_PORT: String(port) },
        runOptions: ['--probation', '20s'],
      });
      const client = createSocket('udp4');
      const answers: string[] = [];
      client.on('message', (m) => answers.push(String(m)));
      try {
        client.send('x hello', port, '127.0.0.1');
        await until('the first has a flow', () => answers.includes('1 x hello'));
        await service.restart();
        client.send('x again', port, '127.0.0.1');
        await until('it stays there', () => answers.includes('1 x again'));
        const slow = answerOrError({ port, path: '/?ms=2000' });
        await pause(300);
        client.send('x bad', port, '127.0.0.1');
        assert.equal(await slow, '2', `the request in flight is answered\n${service.output}`);
        await service.writes(/caught a bad datagram/);
        client.send('x still', port, '127.0.0.1');
        await until('the flow goes on', () => answers.includes('1 x still'), 3000);
        assert.equal(await answerOrError({ port, path: '/' }), '2');
      } finally {
        client.close();
        await service.kill();
      }
    });
  });
});
