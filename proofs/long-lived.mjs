import { existsSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { inProcessOf } from './harness.mjs';
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
      const one = await inProcessOf(node, import.meta.url, {
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
