// Servers of an API that is described or mocked.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

export const APIS = [
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
    name: 'json-graphql-server',
    version: '3.3.2',
    bin: 'json-graphql-server/bin/json-graphql-server.cjs',
    prepare: (folder) =>
      writeFileSync(path.join(folder, 'db.js'), 'module.exports = { posts: [{ id: 1, title: "one" }] };\n'),
    args: ([port], folder) => [path.join(folder, 'db.js'), '--port', port, '--host', '127.0.0.1'],
    request: '/?query=%7BallPosts%7Bid%20title%7D%7D',
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
    name: '@google-cloud/functions-framework',
    version: '5.0.5',
    bin: '@google-cloud/functions-framework/build/src/main.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'function.cjs'),
        'exports.hello = (_request, response) => response.send("hello");\n',
      ),
    args: ([port], folder) => [
      `--source=${path.join(folder, 'function.cjs')}`,
      '--target=hello',
      `--port=${port}`,
    ],
  },
  {
    name: 'fastify-cli',
    version: '8.0.2',
    bin: 'fastify-cli/cli.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'app.cjs'),
        "module.exports = async (app, _options) => { app.get('/', async () => ({ pid: process.pid })); };\n",
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
];
