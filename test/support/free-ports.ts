import { createSocket } from 'node:dgram';

/** See scripts/free-ports.mjs, which is that of the proofs too. */
export const { freePort, freePorts } = (await import(
  new URL('../../../scripts/free-ports.mjs', import.meta.url).href
)) as { freePort(): Promise<number>; freePorts(count: number): Promise<number[]> };

/** A port at which nobody listens, for streams or datagrams; the kernel gives it to no client. */
export async function freeDatagramPort(address = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = await freePort();
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const isFree = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false)).bind(port, address, () => resolve(true));
    });
    await new Promise<void>((resolve) => socket.close(resolve));
    if (isFree) return port;
  }
}
