// The applications that `npm run apps` runs: unmodified, from npm, each at the version that is named here.
//
// node       the version of Node that it runs on (its engines)
// bin        the script that its package starts, below node_modules
// prepare    makes the files that it serves, in its own folder, before the first start
// args       its arguments; `ports` are free ports, one for each entry of `speaks`
// speaks     what each port speaks: http, smtp or mqtt; clients use them all the time
// request    what its HTTP clients ask for (default: /)
// clients    strict HTTP clients by kind (default: CLIENTS)
// env        variables to set
// known      why connections are lost, where moult says at the start that they will be: then that is no problem
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const CLIENTS = { 'kept-alive': 30, pipelined: 5, 'slow-body': 0, 'new-connection': 5 };

export const CATALOGUE = [
  {
    name: 'http-server',
    version: '14.1.1',
    bin: 'http-server/bin/http-server',
    prepare: page,
    args: ([port], folder) => [folder, '-p', port, '-a', '127.0.0.1', '-s', '-c-1'],
  },
  {
    name: 'serve',
    version: '14.2.7',
    bin: 'serve/build/main.js',
    prepare: page,
    args: ([port], folder) => ['-l', `tcp://127.0.0.1:${port}`, '-L', '--no-clipboard', folder],
  },
  {
    name: 'json-server',
    version: '0.17.4',
    bin: 'json-server/lib/cli/bin.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'db.json'),
        '{"posts":[{"id":1,"title":"one"},{"id":2,"title":"two"}]}',
      ),
    args: ([port], folder) => [
      '--quiet',
      '--host',
      '127.0.0.1',
      '--port',
      port,
      path.join(folder, 'db.json'),
    ],
    request: '/posts',
  },
  {
    name: 'local-web-server',
    version: '5.4.0',
    bin: 'local-web-server/bin/cli.js',
    prepare: page,
    args: ([port], folder) => ['--hostname', '127.0.0.1', '--port', port, '--directory', folder],
  },
  {
    name: 'tiddlywiki',
    version: '5.4.1',
    bin: 'tiddlywiki/tiddlywiki.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'tiddlywiki.info'),
        '{"plugins":["tiddlywiki/tiddlyweb","tiddlywiki/filesystem"],"themes":["tiddlywiki/vanilla"]}',
      ),
    args: ([port], folder) => [folder, '--listen', `port=${port}`, 'host=127.0.0.1'],
    request: '/status',
  },
  {
    name: 'reveal-md',
    version: '6.1.4',
    bin: 'reveal-md/bin/reveal-md.js',
    prepare: (folder) => writeFileSync(path.join(folder, 'slides.md'), '# One\n\n---\n\n# Two\n'),
    args: ([port], folder) => [
      path.join(folder, 'slides.md'),
      '--port',
      port,
      '--host',
      '127.0.0.1',
      '--disable-auto-open',
    ],
    request: '/slides.md',
  },
  {
    name: 'docsify-cli',
    version: '5.0.0',
    bin: 'docsify-cli/bin/docsify',
    prepare: (folder) => {
      page(folder);
      writeFileSync(path.join(folder, 'README.md'), '# A page\n');
    },
    args: ([port, reload], folder) => ['serve', folder, '--port', port, '-P', reload],
    speaks: ['http', 'tcp'],
    request: '/README.md',
  },
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
    name: 'azurite',
    version: '3.37.0',
    node: 24,
    bin: 'azurite/dist/src/azurite.js',
    args: ([blob, queue, table], folder) => [
      '--silent',
      '--location',
      folder,
      '--skipApiVersionCheck',
      '--blobPort',
      blob,
      '--queuePort',
      queue,
      '--tablePort',
      table,
    ],
    speaks: ['http', 'http', 'http'],
    request: '/devstoreaccount1?comp=list',
  },
  {
    name: 'dynalite',
    version: '4.0.0',
    bin: 'dynalite/cli.js',
    args: ([port]) => ['--host', '127.0.0.1', '--port', port],
  },
  {
    name: 's3rver',
    version: '3.7.1',
    bin: 's3rver/bin/s3rver.js',
    args: ([port], folder) => [
      '--silent',
      '--directory',
      path.join(folder, 's3'),
      '--address',
      '127.0.0.1',
      '--port',
      port,
      '--configure-bucket',
      'one',
    ],
    request: '/one',
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
    known: 'node:cluster: connections of its workers end with them, as moult says at the start',
  },
  {
    name: 'y-websocket',
    version: '2.1.0',
    bin: 'y-websocket/bin/server.cjs',
    args: () => [],
    env: ([port]) => ({ HOST: '127.0.0.1', PORT: port }),
    webSockets: '/room',
  },
  {
    name: '@mockoon/cli',
    version: '9.9.0',
    node: 22,
    bin: '@mockoon/cli/bin/run.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'openapi.json'),
        JSON.stringify({
          openapi: '3.0.0',
          info: { title: 'pets', version: '1' },
          paths: {
            '/pets': {
              get: {
                responses: {
                  200: { description: 'all', content: { 'application/json': { example: [1, 2] } } },
                },
              },
            },
          },
        }),
      ),
    args: ([port], folder) => [
      'start',
      '--data',
      path.join(folder, 'openapi.json'),
      '--port',
      port,
      '--hostname',
      '127.0.0.1',
      '--disable-log-to-file',
      '--disable-admin-api',
      '--max-transaction-logs',
      '1',
    ],
    request: '/pets',
  },
  {
    name: '@stoplight/prism-cli',
    version: '5.16.0',
    node: 24,
    bin: '@stoplight/prism-cli/dist/index.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'api.yaml'),
        'openapi: 3.0.0\ninfo: { title: pets, version: "1" }\npaths:\n  /pets:\n    get:\n      responses:\n        "200": { description: all, content: { application/json: { example: [1, 2] } } }\n',
      ),
    args: ([port], folder) => [
      'mock',
      path.join(folder, 'api.yaml'),
      '--port',
      port,
      '--host',
      '127.0.0.1',
      '--verboseLevel',
      'fatal',
    ],
    request: '/pets',
  },
  {
    name: 'fastify-cli',
    version: '8.0.2',
    bin: 'fastify-cli/cli.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'app.cjs'),
        "module.exports = async (app) => { app.get('/', async () => ({ pid: process.pid })); };\n",
      ),
    args: ([port], folder) => [
      'start',
      '--address',
      '127.0.0.1',
      '--port',
      port,
      '--log-level',
      'silent',
      path.join(folder, 'app.cjs'),
    ],
  },
  {
    name: 'vite',
    version: '8.4.0',
    node: 22,
    bin: 'vite/bin/vite.js',
    prepare: page,
    args: ([port], folder) => [
      folder,
      '--host',
      '127.0.0.1',
      '--port',
      port,
      '--strictPort',
      '--logLevel',
      'silent',
    ],
  },
  {
    name: 'browser-sync',
    version: '3.0.4',
    bin: 'browser-sync/dist/bin.js',
    prepare: page,
    args: ([port], folder) => [
      'start',
      '--server',
      folder,
      '--listen',
      '127.0.0.1',
      '--port',
      port,
      '--no-open',
      '--no-ui',
      '--logLevel',
      'silent',
    ],
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
    name: '@hocuspocus/cli',
    version: '2.15.3',
    bin: '@hocuspocus/cli/src/index.js',
    args: ([port]) => ['--port', port],
    webSockets: '/',
  },
  {
    name: 'hexo',
    version: '8.1.2',
    bin: 'hexo/bin/hexo',
    prepare: hexo,
    args: ([port], folder) => ['server', '--cwd', folder, '--port', port, '--ip', '127.0.0.1', '--silent'],
    request: '/page.html',
  },
  {
    name: 'json-graphql-server',
    version: '3.3.2',
    bin: 'json-graphql-server/bin/json-graphql-server.cjs',
    prepare: (folder) =>
      writeFileSync(path.join(folder, 'db.js'), 'module.exports = { posts: [{ id: 1, title: "one" }] };\n'),
    args: ([port], folder) => [path.join(folder, 'db.js'), '--p', port, '--h', '127.0.0.1'],
    request: '/?query=%7BallPosts%7Bid%20title%7D%7D',
  },
  {
    name: 'node-red',
    version: '5.0.7',
    node: 24,
    bin: 'node-red/red.js',
    args: ([port], folder) => ['--port', port, '--userDir', folder],
    request: '/settings',
  },
  {
    name: 'aedes-cli',
    version: '1.0.2',
    bin: 'aedes-cli/bin/aedes',
    args: ([port]) => ['--protos', 'tcp', '--host', '127.0.0.1', '--port', port],
    speaks: ['mqtt'],
  },
].map((app) => ({
  node: 20,
  prepare: () => {},
  env: () => ({}),
  speaks: ['http'],
  request: '/',
  clients: CLIENTS,
  ...app,
}));

function page(folder) {
  writeFileSync(
    path.join(folder, 'index.html'),
    `<!doctype html><title>a page</title><p>${'text '.repeat(400)}</p>\n`,
  );
}

function haraka(folder, [port]) {
  const config = path.join(folder, 'haraka/config');
  mkdirSync(config, { recursive: true });
  writeFileSync(path.join(config, 'smtp.ini'), `listen=127.0.0.1:${port}\nnodes=0\n`);
  writeFileSync(path.join(config, 'plugins'), 'rcpt_to.in_host_list\ntest_queue\n');
  writeFileSync(path.join(config, 'host_list'), 'example.com\n');
  writeFileSync(path.join(config, 'me'), 'example.com\n');
  writeFileSync(path.join(config, 'loglevel'), 'LOGERROR\n');
}

function hexo(folder) {
  mkdirSync(path.join(folder, 'source'), { recursive: true });
  writeFileSync(path.join(folder, '_config.yml'), 'title: one\nurl: http://example.com\n');
  writeFileSync(
    path.join(folder, 'package.json'),
    '{"name":"site","private":true,"hexo":{"version":"8.1.2"}}',
  );
  writeFileSync(path.join(folder, 'source/page.html'), `<p>${'text '.repeat(400)}</p>`);
}
