import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import type { Broker, Server } from './brokers.js';
import { lacks } from './debian.js';

/** Why the tests of a broker cannot run here; false when they can. Installs its package where that is missing. */
export function lacksServer({ debianPackage }: Broker): string | false {
  return lacks(debianPackage);
}

/** A server for all tests of a suite, in a folder of its own. */
export function serverFor(broker: Broker, lacking: string | false): () => Server {
  let server: Server | undefined;
  let folder: string | undefined;
  before(async () => {
    if (lacking !== false) return;
    folder = mkdtempSync(path.join(tmpdir(), 'moult-broker-'));
    server = await broker.server(folder);
  });
  after(async () => {
    await server?.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });
  return () => {
    if (server === undefined) throw new Error('the server has not been started');
    return server;
  };
}
