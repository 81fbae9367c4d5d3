import type { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { handleOf } from '../../node/handle.js';
import { readMemory } from '../../os/processes/own-memory.js';

/** Where a number stands: in the SSL object itself, or behind a pointer in it. Bytes from the beginning of either. */
export interface NumberPlace {
  /** Where in the SSL object the pointer stands; undefined for a number in the SSL object itself. */
  readonly pointer: number | undefined;
  readonly offset: number;
}

/** Where this process's OpenSSL and Node keep what belongs to a TLS 1.3 connection, in bytes. */
export interface OpensslOffsets {
  /** From the address that a handle tells to the pointer to its SSL object; may be negative. */
  readonly ssl: number;
  readonly clientSecret: number;
  readonly serverSecret: number;
  readonly exporterSecret: number;
  readonly readSequence: NumberPlace;
  readonly writeSequence: NumberPlace;
  /** Where an SSL object points to itself. */
  readonly self: number;
  /** Words that are the same at the beginning of every SSL object of a server, by their offsets. */
  readonly marks: ReadonlyMap<number, bigint>;
}

/** What stands at these places for one connection. */
export interface PlacedState {
  /** The address of its SSL object. */
  readonly ssl: bigint;
  readonly clientSecret: Buffer;
  readonly serverSecret: Buffer;
  readonly exporterSecret: Buffer;
  readonly readSequence: bigint;
  readonly writeSequence: bigint;
}

export const POINTER_BYTES = 8;

/** How Node shows the address of a handle's native stream. Source: node lib/internal/util/inspect.js, formatExternal. */
const EXTERNAL = /^\[External: (?:0x)?([0-9a-f]{1,16})\]$/;

/** Whether a word may be a pointer to an object on the heap. Source: the user half of addresses on 64-bit Linux. */
export function mayBePointer(word: bigint): boolean {
  return word > 0x1_0000n && word < 0x7fff_ffff_ffffn && word % 8n === 0n;
}

/** The address of the native stream of a socket's handle; undefined where Node does not tell it. */
export function streamAddress(socket: TLSSocket): bigint | undefined {
  const { _externalStream } = (handleOf(socket) ?? {}) as { _externalStream?: unknown };
  const shown = EXTERNAL.exec(inspect(_externalStream))?.[1];
  return shown === undefined ? undefined : BigInt(`0x${shown}`);
}

/** The address of a socket's SSL object; undefined where something other than one stands there. */
export function sslOf(socket: TLSSocket, { ssl, self, marks }: OpensslOffsets): bigint | undefined {
  const stream = streamAddress(socket);
  const at = stream === undefined ? undefined : readPointer(stream + BigInt(ssl));
  if (at === undefined || readPointer(at + BigInt(self)) !== at) return undefined;
  for (const [offset, word] of marks)
    if (readMemory(at + BigInt(offset), 8)?.readBigUInt64LE(0) !== word) return undefined;
  return at;
}

/** What stands at the places of a connection; undefined where one of them cannot be read. @param secretBytes the length of its secrets. */
export function readPlaces(
  socket: TLSSocket,
  places: OpensslOffsets,
  secretBytes: number,
): PlacedState | undefined {
  const ssl = sslOf(socket, places);
  if (ssl === undefined) return undefined;
  const secret = (offset: number) => readMemory(ssl + BigInt(offset), secretBytes);
  const clientSecret = secret(places.clientSecret);
  const serverSecret = secret(places.serverSecret);
  const exporterSecret = secret(places.exporterSecret);
  const readSequence = readNumber(ssl, places.readSequence);
  const writeSequence = readNumber(ssl, places.writeSequence);
  if (
    clientSecret === undefined ||
    serverSecret === undefined ||
    exporterSecret === undefined ||
    readSequence === undefined ||
    writeSequence === undefined
  )
    return undefined;
  return { ssl, clientSecret, serverSecret, exporterSecret, readSequence, writeSequence };
}

function readNumber(ssl: bigint, { pointer, offset }: NumberPlace): bigint | undefined {
  const base = pointer === undefined ? ssl : readPointer(ssl + BigInt(pointer));
  return base === undefined ? undefined : readMemory(base + BigInt(offset), 8)?.readBigUInt64BE(0);
}

function readPointer(address: bigint): bigint | undefined {
  const word = readMemory(address, POINTER_BYTES)?.readBigUInt64LE(0);
  return word !== undefined && mayBePointer(word) ? word : undefined;
}
