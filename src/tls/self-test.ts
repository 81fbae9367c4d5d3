import type { TLSSocket } from 'node:tls';
import { descriptorOf } from '../node/handle.js';
import { freeze } from '../node/http/http1.js';
import { duplicate } from '../os/descriptors/descriptor.js';
import { capture } from './capture/capture.js';
import { blockWrites } from './capture/write-block.js';
import { findOffsets } from './search/find-offsets.js';
import { KnownConnection } from './search/known-connection.js';
import type { OpensslOffsets } from './search/openssl-offsets.js';
import { adoptTls } from './socket/moved-socket.js';
import { decodeTlsState, encodeTlsState } from './state/state-codec.js';
import { forgetSecrets, type TlsState } from './state/tls-state.js';

/** How long the whole test may take before it counts as failed. */
const TIMEOUT_MS = 5000;
/** With another length of secrets than the search uses. */
const CIPHER = 'TLS_AES_128_GCM_SHA256';

let tested: Promise<string> | undefined;
let found: OpensslOffsets | undefined;

/** Where the states of TLS connections stand in this process; undefined unless {@link tlsMoves} has said `yes`. */
export function foundPlaces(): OpensslOffsets | undefined {
  return found;
}

/**
 * Finds where the states of TLS connections stand, and moves one within this process, from Node's TLS to moult's. The first
 * call does it, for the whole process.
 * @returns `yes`, or why connections of this kind must be drained instead.
 */
export function tlsMoves(): Promise<string> {
  tested ??= test();
  return tested;
}

async function test(): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    });
    found = await Promise.race([findAndMove(), late]);
    return 'yes';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
  }
}

async function findAndMove(): Promise<OpensslOffsets> {
  const places = await findOffsets();
  const known = await KnownConnection.open(CIPHER);
  try {
    await known.exchange(2, 3);
    await moveOne(known, places);
    return places;
  } finally {
    known.close();
  }
}

async function moveOne(known: KnownConnection, places: OpensslOffsets): Promise<void> {
  freeze(known.server);
  blockWrites(known.server);
  const captured = capture(known.server, places);
  if ('why' in captured) throw new Error(`a connection at rest was refused: ${captured.why}`);
  const { state } = captured;
  checkState(state, known);
  const bytes = encodeTlsState(state);
  if (bytes === undefined) throw new Error('the state of a connection was too large');
  const arrived = decodeTlsState(bytes);
  const fd = duplicate(descriptorOf(known.server));
  known.server.destroy();
  const moved = adoptTls(fd, arrived);
  for (const one of [state, arrived]) forgetSecrets(one);
  bytes.fill(0);
  try {
    moved.on('error', () => {});
    moved.begin();
    await echoes(known.client, moved);
  } finally {
    moved.destroy();
  }
}

function checkState(state: TlsState, { secrets, readRecords, writtenRecords }: KnownConnection): void {
  const isRight =
    state.clientSecret.equals(secrets.client) &&
    state.serverSecret.equals(secrets.server) &&
    state.exporterSecret.equals(secrets.exporter) &&
    state.readSequence === BigInt(readRecords) &&
    state.writeSequence === BigInt(writtenRecords);
  if (!isRight) throw new Error('what was read of a known connection was not what is known');
}

/** The moved side says back what its client says. */
function echoes(client: TLSSocket, moved: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    moved.once('data', (chunk: Buffer) => moved.write(chunk));
    client.once('data', (chunk: Buffer) =>
      chunk.toString() === 'moult'
        ? resolve()
        : reject(new Error('a moved connection answered something else')),
    );
    client.once('close', () => reject(new Error('a moved connection was closed by its client')));
    client.write('moult');
  });
}
