import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Client, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { root } from '../integration/supervised.js';
import { PACE } from '../support/pace.js';
import { type Clients, inLoops, Tally } from './tally.js';

interface Greeter extends Client {
  Hello(
    request: { name: string },
    callback: (error: ServiceError | null, reply: { greeting: string }) => void,
  ): void;
}

type GreeterConstructor = new (
  address: string,
  channel: ReturnType<typeof credentials.createInsecure>,
  options: Record<string, number>,
) => Greeter;

/** Four clients, each with a connection of its own. */
export function grpcClients(port: number): Clients {
  const tally = new Tally();
  const definition = loadPackageDefinition(loadSync(join(root, 'examples/grpc/hello.proto')));
  const { Greeter } = definition.hello as unknown as { readonly Greeter: GreeterConstructor };
  const greeters = Array.from(
    { length: 4 },
    () =>
      new Greeter(`127.0.0.1:${port}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
  );
  const loops = inLoops(greeters.length, tally, async (index) => {
    await pause(5 * PACE);
    tally.answered(await hello(greeters[index] as Greeter));
  });
  return {
    tally,
    async stop() {
      await loops.stop();
      for (const greeter of greeters) greeter.close();
    },
  };
}

function hello(greeter: Greeter): Promise<string> {
  return new Promise((resolve, reject) => {
    greeter.Hello({ name: 'you' }, (error, reply) =>
      error === null ? resolve(reply.greeting) : reject(error),
    );
  });
}
