// Servers of mail, MQTT and WebSockets.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const MESSAGE_SERVERS = [
  {
    name: 'maildev',
    version: '3.0.0',
    bin: 'maildev/dist/bin/maildev.js',
    args: ([web, smtp], folder) => [
      '--web',
      web,
      '--smtp',
      smtp,
      '--ip',
      '127.0.0.1',
      '--web-ip',
      '127.0.0.1',
      '--mail-directory',
      path.join(folder, 'mail'),
    ],
    speaks: ['http', 'smtp'],
    request: '/healthz',
  },
  {
    name: 'Haraka',
    version: '3.3.4',
    bin: 'Haraka/bin/haraka',
    prepare: haraka,
    args: (_ports, folder) => ['-c', path.join(folder, 'haraka')],
    speaks: ['smtp'],
  },
  {
    name: 'aedes-cli',
    version: '1.0.2',
    bin: 'aedes-cli/bin/aedes',
    args: ([port]) => ['--protos', 'tcp', '--host', '127.0.0.1', '--port', port],
    speaks: ['mqtt'],
  },
  {
    name: 'peer',
    version: '1.0.2',
    bin: 'peer/dist/bin/peerjs.js',
    args: ([port]) => ['--port', port, '--host', '127.0.0.1', '--path', '/'],
  },
  {
    name: 'gun',
    version: '0.2020.1241',
    bin: 'gun/examples/http.js',
    args: ([port]) => [port],
    env: ([port]) => ({ PORT: port, MULTICAST: 'false' }),
    request: '/gun.js',
    known: {
      remark: 'serves from a worker of node:cluster, whose connections end with it',
      said: /workers of node:cluster accept for this service/,
    },
  },
  {
    name: 'y-websocket',
    version: '2.1.0',
    bin: 'y-websocket/bin/server.cjs',
    args: () => [],
    env: ([port]) => ({ HOST: '127.0.0.1', PORT: port }),
    webSockets: '/room',
  },
];

function haraka(folder, [port]) {
  const config = path.join(folder, 'haraka/config');
  mkdirSync(config, { recursive: true });
  writeFileSync(path.join(config, 'smtp.ini'), `listen=127.0.0.1:${port}\nnodes=0\n`);
  writeFileSync(path.join(config, 'plugins'), 'rcpt_to.in_host_list\nqueue/discard\n');
  writeFileSync(path.join(config, 'host_list'), 'example.com\n');
  writeFileSync(path.join(config, 'me'), 'example.com\n');
  writeFileSync(path.join(config, 'connection.ini'), '[message]\nhelo=at your service\n');
  writeFileSync(path.join(config, 'loglevel'), 'LOGERROR\n');
}
