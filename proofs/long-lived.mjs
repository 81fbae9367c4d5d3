// `node proofs/long-lived.mjs`: the slow proof for connections that live long. Two hundred clients over every supported
// Node, while the service is restarted twenty times: numbered messages both ways over WebSockets (plain, in fragments,
// compressed with and without context takeover, half-written), Socket.IO with its own client (namespaces, rooms,
// acknowledgements, binary messages), and a line protocol over TCP and a Unix socket; numbered events over streams (plain,
// to a slow reader, in parts, of HTTP/1.0); MQTT of every quality of service, with sessions, retained messages and wills,
// through the broker of examples/aedes. Prints a table; exit status 1 if a message was lost, doubled or out of order, or
// a connection was closed.
//
//   node proofs/long-lived.mjs --node 22 --service websockets --restarts 5 --clients 60
//   node proofs/long-lived.mjs --secure --service websockets --service socket.io --service events --service lines
//
// --node and --service may be given again; --node takes a path as well. With --undone each third restart is undone; with --secure all speak TLS. One combination takes about half a minute.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { proveOne, services } from './long-lived/prove.mjs';
import { installNode, VERSIONS } from './nodes.mjs';

const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    service: { type: 'string', multiple: true, default: Object.keys(services) },
    restarts: { type: 'string', default: '20' },
    clients: { type: 'string', default: '200' },
    'think-ms': { type: 'string', default: '40' },
    /** Each third restart is undone. */
    undone: { type: 'boolean', default: false },
    /** Over TLS, with `--tls move`; not for each service. */
    secure: { type: 'boolean', default: false },
    /** The result as one line of JSON. */
    json: { type: 'boolean', default: false },
    one: { type: 'string' },
  },
});

if (values.one !== undefined)
  process.stdout.write(`${JSON.stringify(await proveOne(JSON.parse(values.one)))}\n`);
else process.exitCode = await proveAll();

async function proveAll() {
  const [restarts, clients, thinkMs] = [values.restarts, values.clients, values['think-ms']].map(Number);
  const found = [];
  for (const version of values.node) {
    const node = existsSync(version) ? version : installNode(VERSIONS[version]);
    for (const service of values.service) {
      const one = await inProcessOf(node, {
        service,
        restarts,
        clients,
        thinkMs,
        undone: values.undone,
        secure: values.secure,
      });
      found.push(one);
      if (values.json) continue;
      const { answered, pushed, moved, sealed, inTheMiddle, longestMs, longestKind, problems } = one;
      console.log(
        `${one.node ?? version} ${service}: ${restarts} restarts, ${clients} clients, ${answered} answers, ${pushed} pushes, ` +
          `${moved} moves${sealed === undefined ? '' : `, ${sealed} records sealed after them`} (${inTheMiddle} told to be in the middle of a message), longest wait ${longestMs?.toFixed(0)} ms (${longestKind}): ${problems.length === 0 ? 'nothing lost' : 'FAILED'}`,
      );
      for (const problem of problems) console.log(`    ${problem}`);
    }
  }
  if (values.json) console.log(JSON.stringify(found));
  return found.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

/** Runs one combination in a process of that Node: supervisor, service and clients then all run on it. */
function inProcessOf(node, combination) {
  return new Promise((resolve) => {
    const child = spawn(node, [fileURLToPath(import.meta.url), '--one', JSON.stringify(combination)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    child.once('close', (code, signal) => {
      try {
        resolve(JSON.parse(text));
      } catch {
        resolve({ problems: [`it ended without a result (${signal ?? code})`] });
      }
    });
  });
}
