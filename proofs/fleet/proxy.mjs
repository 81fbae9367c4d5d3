// A way to a server that can be cut: what a partition of the network is to those behind it.
import net from 'node:net';

/** Passes connections on to one of these ports. */
export async function startProxy(ports) {
  const pairs = new Set();
  let isCut = false;
  let next = 0;
  const server = net.createServer((client) => {
    if (isCut) {
      // Nothing comes back, as from a network that is away.
      pairs.add({ client, away: client });
      client.on('error', () => {});
      return;
    }
    next += 1;
    const away = net.connect(ports[next % ports.length], '127.0.0.1');
    const pair = { client, away };
    pairs.add(pair);
    client.pipe(away).pipe(client);
    for (const one of [client, away]) {
      one.on('error', () => {});
      one.on('close', () => {
        pairs.delete(pair);
        // A server that ends is seen to end; in a partition nothing is seen.
        if (!isCut) {
          client.destroy();
          away.destroy();
        }
      });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `nats://127.0.0.1:${server.address().port}`,
    /** From now on nothing gets through, in either direction, and nobody is told. */
    cut() {
      isCut = true;
      for (const { client, away } of pairs) {
        client.unpipe();
        away.unpipe?.();
        client.pause();
        away.pause?.();
      }
    },
    /** What was cut is broken, and new connections get through. */
    heal() {
      isCut = false;
      for (const { client, away } of pairs) {
        client.destroy();
        away.destroy();
      }
      pairs.clear();
    },
    async close() {
      for (const { client, away } of pairs) {
        client.destroy();
        away.destroy();
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
