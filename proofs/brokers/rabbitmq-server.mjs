// RabbitMQ as one node of its own: its files in one folder, its Erlang port mapper on a port of its own.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../../scripts/free-ports.mjs';
import { Program } from './program.mjs';

export const program = '/usr/lib/rabbitmq/bin/rabbitmq-server';
export const debianPackage = 'rabbitmq-server';

export async function server(folder) {
  const [port, mapperPort, distributionPort] = [await freePort(), await freePort(), await freePort()];
  const inFolder = (name) => path.join(folder, name);
  writeFileSync(inFolder('rabbitmq.conf'), `listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = true\n`);
  writeFileSync(inFolder('enabled_plugins'), '[].');
  mkdirSync(inFolder('mapper'));
  const env = {
    HOME: folder,
    ERL_EPMD_PORT: mapperPort,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // Has the script become the server, so that its pid is the server's.
    RUNNING_UNDER_SYSTEMD: 'true',
    RABBITMQ_NODENAME: `moult${port}@localhost`,
    RABBITMQ_DIST_PORT: distributionPort,
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: inFolder('rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: inFolder('enabled_plugins'),
    RABBITMQ_MNESIA_BASE: inFolder('data'),
    RABBITMQ_LOG_BASE: inFolder('log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: inFolder('pid'),
    // For the few messages of a test, as few threads as will do.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none',
  };
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const mapper = new Program(
    '/usr/bin/epmd',
    ['-address', '127.0.0.1', '-port', String(mapperPort)],
    mapperPort,
    inFolder('mapper'),
  );
  const running = new Program('/usr/bin/env', [...words, program], port, folder);
  const start = async () => {
    await mapper.start();
    try {
      await running.start();
    } catch (error) {
      await mapper.stop();
      throw error;
    }
  };
  await start();
  return {
    url: `amqp://127.0.0.1:${port}`,
    get pid() {
      return running.pid;
    },
    start,
    async stop(signal) {
      await running.stop(signal);
      await mapper.stop();
    },
    accepted: async () => readFileSync(running.log, 'utf8').split(' accepting AMQP connection ').length - 1,
  };
}
