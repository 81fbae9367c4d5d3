// The clients of a trial: strict ones at every port, of whatever it speaks.
import { startLoad } from '../../dist/verify/load.js';
import { startExchanges } from './exchange-clients.mjs';
import { watchWebSockets } from './web-socket-clients.mjs';

const EXCHANGE_CLIENTS = 5;
const NEWCOMERS = 10;
const STOP_MS = 20_000;

/** Clients that use the application as theirs do. `stop()` gives what they saw. */
export function startClients(app, ports) {
  const load = httpLoad(app, ports, app.clients);
  const exchanges = app.speaks.flatMap((protocol, n) =>
    protocol === 'http' ? [] : [startExchanges(protocol, Number(ports[n]), EXCHANGE_CLIENTS)],
  );
  const webSockets = app.webSockets === undefined ? undefined : watchWebSockets(ports[0], app.webSockets);
  return {
    stop: async () => {
      const { requests, failed, lost, toldToClose, reasons } = await load.stop();
      const others = await Promise.all(exchanges.map((one) => one.stop()));
      const failures = others.flatMap((one) => one.failed);
      return {
        requests: requests + others.reduce((sum, { done }) => sum + done, 0) + failures.length,
        failed: failed + failures.length,
        lost,
        toldToClose,
        webSocketsClosed: webSockets?.stop(),
        reasons: JSON.stringify({
          ...reasons,
          ...(failures.length > 0 ? { exchanges: failures.slice(0, 5) } : {}),
        }),
      };
    },
  };
}

/** Clients that ask with a new connection each. `stop()` gives how many of these were refused. */
export function startNewcomers(app, ports) {
  const load = httpLoad(app, ports, { 'new-connection': NEWCOMERS });
  const others = app.speaks.flatMap((protocol, n) =>
    protocol === 'http' ? [] : [startExchanges('tcp', Number(ports[n]), NEWCOMERS)],
  );
  return {
    stop: async () => {
      const { reasons } = await load.stop();
      const seen = await Promise.all(others.map((one) => one.stop()));
      const refused = seen.flatMap((one) => one.failed).filter((reason) => reason.includes('ECONNREFUSED'));
      return (reasons.refused ?? 0) + refused.length;
    },
  };
}

/** One load for each port that speaks HTTP. `stop()` gives the sum of what they found. */
function httpLoad(app, ports, clients) {
  const request = { path: app.request };
  const loads = ports
    .filter((_, n) => app.speaks[n] === 'http')
    .map((port) =>
      startLoad({
        target: { host: '127.0.0.1', port: Number(port) },
        clients,
        requests: Object.fromEntries(Object.keys(clients).map((kind) => [kind, request])),
        thinkMs: 100,
        requestTimeoutMs: 60_000,
        connectTimeoutMs: 60_000,
      }),
    );
  return {
    stop: async () => {
      const sum = { requests: 0, failed: 0, lost: 0, toldToClose: 0, reasons: {} };
      for (const { total } of await Promise.all(loads.map((load) => load.stop(STOP_MS)))) {
        for (const key of ['requests', 'failed', 'lost', 'toldToClose']) sum[key] += total[key];
        for (const [reason, count] of Object.entries(total.reasons))
          sum.reasons[reason] = (sum.reasons[reason] ?? 0) + count;
      }
      return sum;
    },
  };
}
