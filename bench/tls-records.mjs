// What a moved TLS connection costs: one process serves the same connections by Node's own TLS and by moult's record layer,
// by turns; clients in another process. CPU of the serving process, ratios within a round.
import { cells, figure, ratio } from './measure/figures.mjs';
import { startHelper } from './measure/processes.mjs';
import { table } from './measure/table.mjs';

const ROUNDS = 9;
const KINDS = /** @type {const} */ ([
  { kind: 'small', what: 'a small request', requests: 3000 },
  { kind: 'large', what: 'a response of 1 MB', requests: 60 },
  { kind: 'upload', what: 'a body of 1 MB', requests: 60 },
]);

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const rounds = isQuick ? 2 : ROUNDS;
  const share = isQuick ? 0.1 : 1;
  /** @type {(string | number)[][]} */
  const rows = [];
  /** @type {Record<string, unknown>} */
  const json = {};
  for (const cipher of ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']) {
    const server = startHelper('tls-server.mjs');
    const client = startHelper('tls-client.mjs');
    try {
      const { port } = await server.ask({ do: 'listen', cipher });
      await client.ask({ do: 'connect', port });
      await server.ask({ do: 'settle' });
      for (const { kind, what, requests } of KINDS) {
        say(`${cipher}, ${what}`);
        const found = {
          libcrypto: /** @type {number[]} */ ([]),
          node: /** @type {number[]} */ ([]),
          noise: /** @type {number[]} */ ([]),
          nativeUs: /** @type {number[]} */ ([]),
        };
        const count = Math.max(10, Math.round(requests * share));
        const one = async (/** @type {string} */ by) => {
          await server.ask({ do: 'begin' });
          await client.ask({ do: 'load', by, kind, count });
          const { cpuUs } = await server.ask({ do: 'end' });
          return cpuUs / count;
        };
        for (const by of ['native', 'libcrypto', 'node:crypto']) await one(by);
        for (let round = 0; round < rounds; round += 1) {
          const native = await one('native');
          found.nativeUs.push(native);
          found.libcrypto.push((await one('libcrypto')) / native);
          found.node.push((await one('node:crypto')) / native);
          found.noise.push((await one('native')) / native);
        }
        json[`${cipher} ${kind}`] = Object.fromEntries(
          Object.entries(found).map(([name, values]) => [name, figure(values)]),
        );
        rows.push([`${cipher}, ${what}: moved / Node's TLS`, ...cells(figure(found.libcrypto), ratio)]);
        rows.push(['  without libcrypto', ...cells(figure(found.node), ratio)]);
        rows.push(["  noise: Node's TLS / Node's TLS", ...cells(figure(found.noise), ratio)]);
        rows.push([
          "  Node's TLS, this machine: CPU µs",
          ...cells(figure(found.nativeUs), (us) => us.toFixed(1)),
        ]);
      }
    } finally {
      await client.stop();
      await server.stop();
    }
  }
  return { json, text: table([`tls-records, ${rounds} rounds`, 'median', 'quartiles', 'extremes'], rows) };
}
