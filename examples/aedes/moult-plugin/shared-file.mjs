import { fstatSync, mkdtempSync, openSync, readlinkSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';

/** How long a predecessor in another container may take to give up its broker. */
const AWAITED_MS = 60_000;

/** One file of all generations, without a name: whose the broker is, or what it knows when nobody has it. */
export class SharedFile {
  #fd;

  constructor(service) {
    this.#fd = service.file('aedes', () => {
      const folder = mkdtempSync(join(tmpdir(), 'aedes-'));
      const fd = openSync(join(folder, 'state'), 'wx+', 0o600);
      rmSync(folder, { recursive: true });
      return fd;
    });
  }

  put(state) {
    this.#write({ state });
  }

  /** Waits until it was put, or nobody will. @returns undefined for a broker that begins with nothing, such as after a crash. */
  async take() {
    const giveUpAtMs = performance.now() + AWAITED_MS;
    for (;;) {
      const found = this.#read();
      const isLate = performance.now() > giveUpAtMs;
      if (isLate || found?.state !== undefined || (found !== undefined && isDead(found))) {
        this.#write({ pid: process.pid, space: pidSpace() });
        return found?.state;
      }
      await pause(5);
    }
  }

  // The length comes last: half of it is never read.
  #write(value) {
    const bytes = serialize(value);
    writeSync(this.#fd, Buffer.alloc(8), 0, 8, 0);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, 8 + at);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(bytes.length));
    writeSync(this.#fd, length, 0, 8, 0);
  }

  #read() {
    if (fstatSync(this.#fd).size === 0) return { pid: undefined };
    const head = Buffer.alloc(8);
    readSync(this.#fd, head, 0, 8, 0);
    const bytes = Buffer.alloc(Number(head.readBigUInt64LE()));
    if (bytes.length === 0) return undefined;
    for (let at = 0; at < bytes.length; ) at += readSync(this.#fd, bytes, at, bytes.length - at, 8 + at);
    return deserialize(bytes);
  }
}

function pidSpace() {
  return readlinkSync('/proc/self/ns/pid');
}

function isDead({ pid, space }) {
  if (pid === undefined) return true;
  if (space !== pidSpace()) return false;
  try {
    return process.kill(pid, 0) !== true;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}
