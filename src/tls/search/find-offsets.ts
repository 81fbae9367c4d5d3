import { readMappedMemory } from '../../os/processes/own-memory.js';
import { KnownConnection } from './known-connection.js';
import {
  mayBePointer,
  type NumberPlace,
  type OpensslOffsets,
  POINTER_BYTES,
  streamAddress,
} from './openssl-offsets.js';

/** The part of Node's TLSWrap that is searched for the pointer to its SSL object, from the address that its handle tells. */
const WRAP_BEFORE_BYTES = 512;
const WRAP_BYTES = 2048;
/** The part of an SSL object, and of what it points to, that is searched. Both are larger than either is in OpenSSL 3.0 to 3.5. */
const SSL_BYTES = 8192;
const RECORD_LAYER_BYTES = 6144;
/** Words at the beginning of an SSL object by which it is known: there are pointers to functions that all servers share. */
const MARK_BYTES = 64;
/** The part of it in which its two BIOs stand. */
const HEAD_BYTES = 256;
/** How many records go in both directions before each look: written, read. All eight sums differ. */
const LOOKS: readonly (readonly [which: 0 | 1, written: number, read: number])[] = [
  [0, 3, 2],
  [0, 5, 8],
  [1, 6, 17],
  [1, 13, 4],
];
/** The cipher with the longest secrets. */
const CIPHER = 'TLS_AES_256_GCM_SHA384';

/** By chance something beside an SSL object may look like it in one connection, and in the next: then more are made. */
const MAX_CONNECTIONS = 8;

/**
 * Finds where the secrets and sequence numbers of TLS connections stand in this process: with connections of which they
 * are known, two or more, by four different pairs of numbers.
 * @throws an error that says what was not found, or stands in more than one place.
 */
export async function findOffsets(): Promise<OpensslOffsets> {
  const open: KnownConnection[] = [];
  try {
    const found: FoundIn[] = [];
    let common: readonly string[] = [];
    while (open.length < 2 || (common.length > 1 && open.length < MAX_CONNECTIONS)) {
      const known = await KnownConnection.open(CIPHER);
      open.push(known);
      const places = secretPlaces(known);
      common = found.length === 0 ? [...places.keys()] : common.filter((key) => places.has(key));
      found.push({ known, places });
    }
    const [key] = common;
    if (key === undefined || common.length > 1)
      throw new Error(`the secrets of TLS connections were found in ${common.length} places, expected 1`);
    const looked = found.slice(-2).map(({ known, places }) => ({ known, found: places.get(key) }));
    return await placesOf(looked as [Looked, Looked]);
  } finally {
    for (const known of open) known.close();
  }
}

interface FoundIn {
  readonly known: KnownConnection;
  readonly places: ReadonlyMap<string, Found>;
}

interface Looked {
  readonly known: KnownConnection;
  readonly found: Found;
}

/** Where the secrets of one connection stand. */
type SecretPlaces = Pick<OpensslOffsets, 'ssl' | 'clientSecret' | 'serverSecret' | 'exporterSecret' | 'self'>;

async function placesOf(looked: readonly [Looked, Looked]): Promise<OpensslOffsets> {
  let written: Map<string, NumberPlace> | undefined;
  let read: Map<string, NumberPlace> | undefined;
  for (const [which, more, back] of LOOKS) {
    const { known, found } = looked[which];
    await known.exchange(more, back);
    written = still(written, numberPlaces(found.at, BigInt(known.writtenRecords)));
    read = still(read, numberPlaces(found.at, BigInt(known.readRecords)));
  }
  const sequences = sequencePair([...(read?.values() ?? [])], [...(written?.values() ?? [])]);
  const [one, other] = looked;
  return { ...one.found.places, ...sequences, marks: marksOf(one.found, other.found) };
}

/**
 * The two sequence numbers stand side by side in the SSL object (OpenSSL 3.0), or at one offset behind two pointers side
 * by side (3.2 and later). What else shows the right numbers four times does so by chance.
 */
function sequencePair(
  read: readonly NumberPlace[],
  written: readonly NumberPlace[],
): Pick<OpensslOffsets, 'readSequence' | 'writeSequence'> {
  const pairs: Pick<OpensslOffsets, 'readSequence' | 'writeSequence'>[] = [];
  for (const readSequence of read)
    for (const writeSequence of written)
      if (areNeighbours(readSequence, writeSequence)) pairs.push({ readSequence, writeSequence });
  const [only] = pairs;
  if (only === undefined || pairs.length > 1)
    throw new Error(
      `the sequence numbers of TLS connections were found in ${pairs.length} places, expected 1`,
    );
  return only;
}

function areNeighbours(one: NumberPlace, other: NumberPlace): boolean {
  if (one.pointer === undefined || other.pointer === undefined)
    return one.pointer === other.pointer && Math.abs(one.offset - other.offset) === POINTER_BYTES;
  return one.offset === other.offset && Math.abs(one.pointer - other.pointer) === POINTER_BYTES;
}

/** By what the beginning of an SSL object is known: pointers that both have, though their contexts are different. */
function marksOf(first: Found, second: Found): Map<number, bigint> {
  const [one, other] = [first, second].map(({ at }) => readMappedMemory(at, MARK_BYTES)) as [Buffer, Buffer];
  const marks = new Map<number, bigint>();
  for (
    let offset = 0;
    offset + POINTER_BYTES <= Math.min(one.length, other.length);
    offset += POINTER_BYTES
  ) {
    const word = one.readBigUInt64LE(offset);
    if (word > 0xffffn && word === other.readBigUInt64LE(offset)) marks.set(offset, word);
  }
  if (marks.size === 0) throw new Error('nothing was found by which an SSL object is known');
  return marks;
}

interface Found {
  readonly places: SecretPlaces;
  /** The address of the SSL object. */
  readonly at: bigint;
}

/** Every place in which all secrets of a connection stand, behind one pointer of its TLSWrap to what is an SSL object. */
function secretPlaces({ server, secrets }: KnownConnection): Map<string, Found> {
  const stream = streamAddress(server);
  if (stream === undefined) throw new Error('Node does not tell the address of a TLS handle');
  const found = new Map<string, Found>();
  const wrap = readMappedMemory(stream - BigInt(WRAP_BEFORE_BYTES), WRAP_BYTES);
  for (const [offset, at] of pointersIn(wrap)) {
    const memory = readMappedMemory(at, SSL_BYTES);
    const self = selfPointer(memory, at);
    if (self !== undefined && hasBiosOf(wrap, memory))
      for (const clientSecret of allOf(memory, secrets.client))
        for (const serverSecret of allOf(memory, secrets.server))
          for (const exporterSecret of allOf(memory, secrets.exporter)) {
            const places = {
              ssl: offset - WRAP_BEFORE_BYTES,
              clientSecret,
              serverSecret,
              exporterSecret,
              self,
            };
            found.set(Object.values(places).join(), { places, at });
          }
    memory.fill(0);
  }
  return found;
}

// An SSL object points to itself: what lies beside one, so that the secrets stand behind it by chance, does not.
function selfPointer(memory: Buffer, at: bigint): number | undefined {
  for (const [offset, pointer] of pointersIn(memory)) if (pointer === at) return offset;
  return undefined;
}

// Node gives it its two BIOs, and keeps them side by side, as OpenSSL does. Source: node src/crypto/crypto_tls.cc, InitSSL.
function hasBiosOf(wrap: Buffer, memory: Buffer): boolean {
  const head = memory.subarray(0, HEAD_BYTES);
  for (const [offset] of pointersIn(head)) {
    const pair = head.subarray(offset, offset + 2 * POINTER_BYTES);
    if (pair.length < 2 * POINTER_BYTES || !mayBePointer(pair.readBigUInt64LE(POINTER_BYTES))) continue;
    if (allOf(wrap, pair).some((at) => at % POINTER_BYTES === 0)) return true;
  }
  return false;
}

/** Every place in an SSL object, or behind one of its pointers, in which a number stands as OpenSSL writes sequence numbers. */
function numberPlaces(ssl: bigint, value: bigint): Map<string, NumberPlace> {
  const wanted = Buffer.alloc(8);
  wanted.writeBigUInt64BE(value);
  const places = new Map<string, NumberPlace>();
  const memory = readMappedMemory(ssl, SSL_BYTES);
  const add = (pointer: number | undefined, where: Buffer) => {
    for (const offset of allOf(where, wanted))
      if (offset % POINTER_BYTES === 0) places.set(`${pointer ?? ''}>${offset}`, { pointer, offset });
  };
  add(undefined, memory);
  for (const [pointer, at] of pointersIn(memory)) add(pointer, readMappedMemory(at, RECORD_LAYER_BYTES));
  memory.fill(0);
  return places;
}

function still<T>(before: Map<string, T> | undefined, now: Map<string, T>): Map<string, T> {
  return before === undefined ? now : new Map([...before].filter(([key]) => now.has(key)));
}

/** Words that may be pointers, each with its offset. */
function* pointersIn(memory: Buffer): Generator<readonly [offset: number, pointer: bigint]> {
  for (let offset = 0; offset + POINTER_BYTES <= memory.length; offset += POINTER_BYTES) {
    const word = memory.readBigUInt64LE(offset);
    if (mayBePointer(word)) yield [offset, word];
  }
}

function allOf(memory: Buffer, wanted: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = memory.indexOf(wanted); at >= 0; at = memory.indexOf(wanted, at + 1)) offsets.push(at);
  return offsets;
}
