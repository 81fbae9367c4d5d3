// `node proofs/http2.mjs`: HTTP/2 and gRPC over twenty restarts in a row, on every supported Node: Node's
// compatibility API and its core API, each without and with TLS, under h2load and node:http2 clients at once, and
// @grpc/grpc-js with unary calls, streams of answers and streams both ways. Exit status 1 if one call failed.
//
// *Refused*: the client was told that its request was not processed, and may send it again (RFC 9113, section 8.7);
// grpc-js does, and those are not counted; node:http2 and h2load do not. Without TLS none may be. *Unsent*: the client
// was told to go before it sent the request. What h2load refuses itself over TLS cannot be told from what the service
// refused, and counts as refused.
//
//   node proofs/http2.mjs --node 22 --service core-tls --restarts 5
//
// --node and --service may be given again; --node takes a path as well. One combination takes about half a minute.
// It needs h2load, of Debian's package nghttp2-client; --without-h2load does without.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { inProcessOf } from './harness.mjs';
import { GrpcClients } from './http2/grpc-clients.mjs';
import { H2loadClients, hasH2load } from './http2/h2load-clients.mjs';
import { NodeClients } from './http2/node-clients.mjs';
import { installNode, VERSIONS } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const SERVICES = ['compat', 'compat-tls', 'core', 'core-tls', 'grpc', 'grpc-tls'];
const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    service: { type: 'string', multiple: true, default: SERVICES },
    restarts: { type: 'string', default: '20' },
    sessions: { type: 'string', default: '8' },
    'without-h2load': { type: 'boolean', default: false },
    /** The result as one line of JSON. */
    json: { type: 'boolean', default: false },
    one: { type: 'string' },
  },
});

if (values.one !== undefined)
  process.stdout.write(`${JSON.stringify(await proveOne(JSON.parse(values.one)))}\n`);
else process.exitCode = await proveAll();

async function proveAll() {
  const withH2load = !values['without-h2load'];
  const needsH2load = withH2load && values.service.some((service) => !service.startsWith('grpc'));
  if (needsH2load && !hasH2load()) {
    console.error('h2load is not installed: apt-get install nghttp2-client');
    return 1;
  }
  const [restarts, sessions] = [values.restarts, values.sessions].map(Number);
  const found = [];
  for (const version of values.node) {
    const node = existsSync(version) ? version : installNode(VERSIONS[version]);
    for (const service of values.service) {
      const one = await inProcessOf(node, import.meta.url, { service, restarts, sessions, withH2load });
      found.push(one);
      if (values.json) continue;
      const clients = Object.entries(one.clients ?? {}).map(
        ([name, { answered, refused, unsent, told, longestMs }]) =>
          `${name}: ${answered} answered, ${refused} refused, ${unsent} unsent, ${told} sessions told to go${longestMs > 0 ? `, longest ${longestMs.toFixed(0)} ms` : ''}`,
      );
      const verdict = one.problems.length === 0 ? '0 failed' : 'FAILED';
      console.log(
        `${one.node ?? version} ${service}, ${restarts} restarts: ${verdict}; ${clients.join('; ')}`,
      );
      for (const problem of one.problems) console.log(`    ${problem}`);
    }
  }
  if (values.json) console.log(JSON.stringify(found));
  return found.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

async function proveOne({ service: name, restarts, sessions, withH2load }) {
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const [api, tls] = name.split('-');
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-http2-'));
  if (tls) makeCertificate(folder);
  let log = '';
  const problems = [];
  const clients = {};
  try {
    const service = await startUnderMoult({
      command: [path.join(root, `test/fixtures/services/${api === 'grpc' ? 'grpc' : 'http2'}.mjs`)],
      env: { API: api, ...(tls ? { CERTIFICATE: folder } : {}) },
      runOptions: ['--probation', '300ms'],
      onOutput: (text) => {
        log = (log + text).slice(-20_000);
      },
    });
    try {
      const url = `${tls ? 'https' : 'http'}://127.0.0.1:${service.target.port}`;
      if (api === 'grpc') clients['grpc-js'] = new GrpcClients(service.target.port, sessions, tls && folder);
      else {
        clients['node:http2'] = new NodeClients(url, sessions, sessions);
        if (withH2load) clients.h2load = new H2loadClients(url);
      }
      await pause(500);
      for (let i = 1; i <= restarts; i += 1) {
        const outcome = await service.restart();
        if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
        await clients['node:http2']?.idleMoveOn();
        await pause(300);
      }
      await Promise.all(Object.values(clients).map((one) => one.stop()));
    } finally {
      await service.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const [kind, { tally }] of Object.entries(clients)) {
    if (tally.refused > 0 && !tls)
      problems.push(`${kind}: ${tally.refused} refused, and nothing need be without TLS`);
    problems.push(...tally.problems.slice(0, 10).map((problem) => `${kind}: ${problem}`));
    if (tally.told < restarts && kind !== 'grpc-js')
      problems.push(`${kind}: only ${tally.told} sessions told to go`);
  }
  const cuts = log.split('\n').filter((line) => line.includes('cut the connection'));
  problems.push(...cuts.slice(0, 5));
  if (/Warning|Error/.test(log)) problems.push(`the service complained: ${log.slice(-3000)}`);
  const tallies = Object.entries(clients).map(([kind, { tally }]) => {
    const { answered, refused, unsent, told, longestMs } = tally;
    return [kind, { answered, refused, unsent, told, longestMs }];
  });
  return { node: process.version, service: name, clients: Object.fromEntries(tallies), problems };
}

function makeCertificate(folder) {
  const [key, cert] = ['key.pem', 'cert.pem'].map((file) => path.join(folder, file));
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const made = ['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost'];
  execFileSync('openssl', ['req', '-x509', ...ec, ...made], { stdio: 'ignore' });
}
