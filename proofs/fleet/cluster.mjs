// NATS servers in a cluster, each with its own ports and folder; any of them can be killed and started again.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../scripts/free-ports.mjs';
import { Program } from '../brokers/program.mjs';

const PROGRAM = '/usr/sbin/nats-server';

/** Starts so many servers, and waits until they have a leader. */
export async function startCluster(folder, count = 3) {
  const names = Array.from({ length: count }, (_, n) => `n${n + 1}`);
  const ports = await Promise.all(names.map(() => freePort()));
  const monitors = await Promise.all(names.map(() => freePort()));
  const routes = await Promise.all(names.map(() => freePort()));
  const servers = names.map((name, n) => {
    const home = join(folder, name);
    mkdirSync(home, { recursive: true });
    const args = [
      '-a',
      '127.0.0.1',
      '-p',
      String(ports[n]),
      '-js',
      '-sd',
      home,
      '-n',
      name,
      '-m',
      String(monitors[n]),
    ];
    if (count > 1) {
      const others = routes.map((port) => `nats://127.0.0.1:${port}`).join(',');
      args.push('--cluster_name', 'proof', '--cluster', `nats://127.0.0.1:${routes[n]}`, '--routes', others);
    }
    return new Program(PROGRAM, args, ports[n], home);
  });
  await Promise.all(servers.map((one) => one.start()));
  return {
    ports,
    monitors,
    urls: ports.map((port) => `nats://127.0.0.1:${port}`),
    servers,
    async stop() {
      await Promise.all(servers.map((one) => one.stop('SIGKILL')));
    },
  };
}
