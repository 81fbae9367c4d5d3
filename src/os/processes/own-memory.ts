import { closeSync, openSync, readSync } from 'node:fs';
import { keepAlive, libc } from '../libc.js';

/*
 * Reads of this process's own memory that fail where a plain read would end the process: at addresses that are not
 * mapped. Nothing here writes.
 */

const PAGE_BYTES = 4096;
/** Two `struct iovec` of 64-bit Linux: where to, and where from. Source: process_vm_readv(2). */
const into = Buffer.alloc(16);
const from = Buffer.alloc(16);

/** The bytes at an address; undefined where not all of them are mapped, or the kernel does not let itself be asked. */
export function readMemory(address: bigint, bytes: number): Buffer | undefined {
  const out = Buffer.alloc(bytes);
  return copyMemory(address, out) ? out : undefined;
}

/** The bytes at an address up to the first page that is not mapped, at most so many; they may be none. */
export function readMappedMemory(address: bigint, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  if (copyMemory(address, out)) return out;
  let at = 0;
  while (at < bytes) {
    const start = address + BigInt(at);
    const piece = Math.min(bytes - at, PAGE_BYTES - Number(start % BigInt(PAGE_BYTES)));
    if (!copyMemory(start, out.subarray(at, at + piece))) break;
    at += piece;
  }
  return out.subarray(0, at);
}

// /proc/self/mem is for systems that filter the call: it asks for no privilege either, but is refused to a process that may not be dumped.
function copyMemory(address: bigint, out: Buffer): boolean {
  const c = libc();
  into.writeBigUInt64LE(c.address(out), 0);
  into.writeBigUInt64LE(BigInt(out.length), 8);
  from.writeBigUInt64LE(address, 0);
  from.writeBigUInt64LE(BigInt(out.length), 8);
  const read = c.processVmReadv(process.pid, into, 1, from, 1);
  const errno = read < 0 ? c.errno() : 0;
  keepAlive(out);
  if (read === out.length) return true;
  return isFiltered(errno) && copyFromFile(address, out);
}

const EPERM = 1;
const ENOSYS = 38;

function isFiltered(errno: number): boolean {
  return errno === EPERM || errno === ENOSYS;
}

function copyFromFile(address: bigint, out: Buffer): boolean {
  let memory: number;
  try {
    memory = openSync('/proc/self/mem', 'r');
  } catch {
    return false;
  }
  try {
    return readSync(memory, out, 0, out.length, address) === out.length;
  } catch {
    return false;
  } finally {
    closeSync(memory);
  }
}
