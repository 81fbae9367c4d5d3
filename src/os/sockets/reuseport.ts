import {
  keepAlive,
  libc,
  SO_ATTACH_REUSEPORT_CBPF,
  SO_REUSEPORT,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';

/*
 * Several sockets that listen on one address, of which a small program in the kernel picks one for each new
 * connection. Source: socket(7), SO_REUSEPORT and SO_ATTACH_REUSEPORT_CBPF; Linux net/core/sock_reuseport.c,
 * Documentation/networking/filter.rst.
 */

const LD_W_ABS = 0x20;
const LD_H_ABS = 0x28;
const LD_B_ABS = 0x30;
const RSH_K = 0x74;
const TAX = 0x07;
const JA = 0x05;
const JEQ_K = 0x15;
const JEQ_X = 0x1d;
const RET_K = 0x06;
/** From here on loads are relative to the IP header. Source: linux/filter.h, SKF_NET_OFF. */
const NET = -0x100000;
/** Jumps are of at most 255 steps. */
const MAX_EXCEPTIONS = 64;

type Step = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

/** A source port from which this machine connects to itself, and where such a connection goes. */
export interface Exception {
  readonly port: number;
  readonly index: number;
}

/** Lets other sockets that ask for it too listen on the address of this one. Before bind. */
export function shareListening(fd: number): void {
  const yes = Buffer.from([1, 0, 0, 0]);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, yes, yes.length) !== 0)
    throw systemCallError('setsockopt(SO_REUSEPORT)');
}

/** Whether {@link shareListening} was said of it. */
export function sharesListening(fd: number): boolean {
  const value = Buffer.alloc(4);
  const got = libc().getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, value, new Int32Array([4]));
  return got === 0 && value.readInt32LE(0) !== 0;
}

/**
 * From now on new connections go to the socket of this index, counted in the order in which the sockets began to
 * listen; where one has closed, the last has come to its place.
 * @param fd any of the sockets.
 * @param exceptions for connections of this machine to itself, from these ports.
 */
export function sendTo(fd: number, index: number, exceptions: readonly Exception[] = []): void {
  const steps = program(index, exceptions.slice(0, MAX_EXCEPTIONS));
  const filter = Buffer.alloc(8 * steps.length);
  steps.forEach(([code, ifTrue, ifFalse, value], i) => {
    filter.writeUInt16LE(code, 8 * i);
    filter[8 * i + 2] = ifTrue;
    filter[8 * i + 3] = ifFalse;
    filter.writeUInt32LE(value >>> 0, 8 * i + 4);
  });
  const described = Buffer.alloc(16);
  described.writeUInt16LE(steps.length, 0);
  described.writeBigUInt64LE(libc().address(filter), 8);
  const done = libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, described, described.length);
  const failure = done === 0 ? undefined : systemCallError('setsockopt(SO_ATTACH_REUSEPORT_CBPF)');
  keepAlive(filter);
  if (failure !== undefined) throw failure;
}

function program(index: number, exceptions: readonly Exception[]): Step[] {
  const otherwise: Step = [RET_K, 0, 0, index];
  if (exceptions.length === 0) return [otherwise];
  const ports = exceptions.flatMap(({ port, index: there }): Step[] => [
    [JEQ_K, 0, 1, port],
    [RET_K, 0, 0, there],
  ]);
  const last = ports.length;
  return [
    [LD_B_ABS, 0, 0, NET],
    [RSH_K, 0, 0, 4],
    [JEQ_K, 6, 0, 6],
    // IPv4: from an address to itself, which only this machine can do; the source port, without IP options.
    [LD_W_ABS, 0, 0, NET + 12],
    [TAX, 0, 0, 0],
    [LD_W_ABS, 0, 0, NET + 16],
    [JEQ_X, 0, 7 + last, 0],
    [LD_H_ABS, 0, 0, NET + 20],
    [JA, 0, 0, 5],
    // IPv6: the last 32 bits of both addresses.
    [LD_W_ABS, 0, 0, NET + 20],
    [TAX, 0, 0, 0],
    [LD_W_ABS, 0, 0, NET + 36],
    [JEQ_X, 0, 1 + last, 0],
    [LD_H_ABS, 0, 0, NET + 40],
    ...ports,
    otherwise,
  ];
}

/** How many connections wait to be accepted. */
export function waitingToBeAccepted(listener: number): number {
  return backlogOf(listener)?.waiting ?? 0;
}

/** Whether a listener has room for another connection; undefined where the kernel does not tell. */
export function hasRoom(listener: number): boolean | undefined {
  const backlog = backlogOf(listener);
  return backlog === undefined ? undefined : backlog.waiting <= backlog.limit;
}

// Source: Linux net/ipv4/tcp.c, tcp_get_info: tcpi_unacked and tcpi_sacked of a listener.
function backlogOf(listener: number): { waiting: number; limit: number } | undefined {
  const info = Buffer.alloc(104);
  const length = new Int32Array([info.length]);
  if (libc().getsockopt(listener, IPPROTO_TCP, TCP_INFO, info, length) !== 0) return undefined;
  return { waiting: info.readUInt32LE(UNACKED_AT), limit: info.readUInt32LE(SACKED_AT) };
}

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const UNACKED_AT = 24;
const SACKED_AT = 28;
