import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { MoultError } from '../errors.js';

/*
 * The calls of libc that Node does not offer. Everything here is synchronous: koffi's asynchronous calls
 * can crash in worker threads (koffi#190), and each of these calls is a few microseconds.
 * Sources for numbers and layouts: Linux include/uapi and man 2 of each call; 64-bit only.
 */

/** Constants of 64-bit Linux. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;
export const SO_REUSEADDR = 2;
export const SO_TYPE = 3;
export const SO_ERROR = 4;
export const SO_REUSEPORT = 15;
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_ACCEPTCONN = 30;
export const SO_ATTACH_REUSEPORT_CBPF = 51;
export const SO_NETNS_COOKIE = 71;
export const IPPROTO_IPV6 = 41;
export const IPV6_V6ONLY = 26;
export const MSG_PEEK = 0x2;
export const MSG_DONTWAIT = 0x40;
export const MSG_CTRUNC = 0x08;
export const MSG_TRUNC = 0x20;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const MSG_NOSIGNAL = 0x4000;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const F_SETFD = 2;
export const F_SETOWN = 8;
export const F_GETOWN = 9;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const FD_CLOEXEC = 1;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const WNOHANG = 1;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLRDHUP = 0x2000;
export const POLLHUP = 16;
export const EPOLL_CTL_DEL = 2;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const NETLINK_SOCK_DIAG = 4;
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_GETFD = 438;

interface Libc {
  sendmsg(fd: number, message: Buffer, flags: number): number;
  recvmsg(fd: number, message: Buffer, flags: number): number;
  recv(fd: number, buffer: Buffer, length: number, flags: number): number;
  send(fd: number, buffer: Buffer, length: number, flags: number): number;
  socketpair(domain: number, type: number, protocol: number, out: Int32Array): number;
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Buffer, length: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: null, length: null, flags: number): number;
  getsockname(fd: number, address: Buffer, length: Int32Array): number;
  getpeername(fd: number, address: Buffer, length: Int32Array): number;
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Int32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  fcntl(fd: number, command: number, value: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  flock(fd: number, operation: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  pipe2(out: Int32Array, flags: number): number;
  dup2(from: number, to: number): number;
  dup3(from: number, to: number, flags: number): number;
  waitpid(pid: number, status: Int32Array, options: number): number;
  execve(path: Buffer, args: Buffer, env: Buffer): number;
  execvpe(file: Buffer, args: Buffer, env: Buffer): number;
  signalToDefault(number: number): void;
  poll(fds: Buffer, count: number, timeoutMs: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Buffer | null): number;
  pidfdOpen(pid: number): number;
  pidfdSendSignal(pidfd: number, signal: number): number;
  pidfdGetFd(pidfd: number, fd: number): number;
  processVmReadv(pid: number, into: Buffer, intoCount: number, from: Buffer, fromCount: number): number;
  errno(): number;
  address(buffer: Buffer): bigint;
}

let loaded: Libc | undefined;
let lastErrno = 0;

type Koffi = Pick<typeof import('koffi'), 'errno'>;

// Read at once: a collection of garbage between a call and the next line may leave another one (1 of 380,000 on Node 26).
function notingErrno<Args extends unknown[], Result>(
  koffi: Koffi,
  call: (...args: Args) => Result,
): (...args: Args) => Result {
  return (...args) => {
    const result = call(...args);
    if (typeof result === 'number' && result < 0) lastErrno = koffi.errno();
    return result;
  };
}

/**
 * libc, loaded at the first call (about 10 ms), so that processes that never pass a descriptor never pay.
 * @throws MOULT_UNSUPPORTED_PLATFORM on anything but 64-bit little-endian Linux.
 */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

/** Whether descriptors can be passed on this system. */
export function isSupportedPlatform(): boolean {
  return process.platform === 'linux' && endianness() === 'LE' && /64/.test(process.arch);
}

/** Under this name the preload of a service keeps what its supervisor said of where koffi is, also for worker threads. */
export const KOFFI = 'moult.koffi';

// In a service packages may be found in other ways than here, with --preserve-symlinks for example.
function loadKoffi(): typeof import('koffi') {
  const require = createRequire(import.meta.url);
  const { getEnvironmentData } = require('node:worker_threads') as typeof import('node:worker_threads');
  const told = getEnvironmentData(KOFFI);
  if (typeof told !== 'string') return require('koffi') as typeof import('koffi');
  try {
    return require(told) as typeof import('koffi');
  } catch (error) {
    // It may have been removed since.
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return require('koffi') as typeof import('koffi');
  }
}

function load(): Libc {
  if (!isSupportedPlatform()) {
    throw new MoultError(
      'MOULT_UNSUPPORTED_PLATFORM',
      `expected 64-bit little-endian Linux, this is ${process.platform} on ${process.arch}`,
    );
  }
  const koffi = loadKoffi();
  const lib = koffi.load(null);
  const call = (prototype: string) => notingErrno(koffi, lib.func(prototype));
  const syscall3 = call('long syscall(long number, int a, uint b)');
  const syscallOf3 = call('long syscall(long number, int a, int b, uint c)');
  const signal = call('void *signal(int number, void *handler)');
  const readv = call(
    'long process_vm_readv(int pid, void *into, ulong intoCount, void *from, ulong fromCount, ulong flags)',
  );
  const syscall4 = call('long syscall(long number, int a, int b, void *c, uint d)');
  return {
    sendmsg: call('long sendmsg(int fd, void *message, int flags)'),
    recvmsg: call('long recvmsg(int fd, void *message, int flags)'),
    recv: call('long recv(int fd, void *buffer, size_t length, int flags)'),
    send: call('long send(int fd, void *buffer, size_t length, int flags)'),
    socketpair: call('int socketpair(int domain, int type, int protocol, void *out)'),
    socket: call('int socket(int domain, int type, int protocol)'),
    connect: call('int connect(int fd, void *address, uint length)'),
    bind: call('int bind(int fd, void *address, uint length)'),
    listen: call('int listen(int fd, int backlog)'),
    accept4: call('int accept4(int fd, void *address, void *length, int flags)'),
    getsockname: call('int getsockname(int fd, void *address, void *length)'),
    getpeername: call('int getpeername(int fd, void *address, void *length)'),
    getsockopt: call('int getsockopt(int fd, int level, int option, void *value, void *length)'),
    setsockopt: call('int setsockopt(int fd, int level, int option, void *value, uint length)'),
    fcntl: call('int fcntl(int fd, int command, int value)'),
    shutdown: call('int shutdown(int fd, int how)'),
    close: call('int close(int fd)'),
    flock: call('int flock(int fd, int operation)'),
    fallocate: call('int fallocate(int fd, int mode, long offset, long length)'),
    pipe2: call('int pipe2(void *out, int flags)'),
    dup2: call('int dup2(int from, int to)'),
    dup3: call('int dup3(int from, int to, int flags)'),
    epoll_ctl: call('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
    waitpid: call('int waitpid(int pid, void *status, int options)'),
    execve: call('int execve(void *path, void *args, void *env)'),
    execvpe: call('int execvpe(void *file, void *args, void *env)'),
    signalToDefault: (number) => signal(number, null),
    poll: call('int poll(void *fds, ulong count, int timeoutMs)'),
    pidfdOpen: (pid) => Number(syscall3(SYS_PIDFD_OPEN, pid, 0)),
    pidfdSendSignal: (pidfd, signal) => Number(syscall4(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, null, 0)),
    pidfdGetFd: (pidfd, fd) => Number(syscallOf3(SYS_PIDFD_GETFD, pidfd, fd, 0)),
    processVmReadv: (pid, into, intoCount, from, fromCount) =>
      Number(readv(pid, into, intoCount, from, fromCount, 0)),
    errno: () => lastErrno,
    address: (buffer) => BigInt(koffi.address(buffer)),
  };
}

/**
 * A function that this process exports: those of OpenSSL, where Node has it inside.
 * @param prototype in C, such as `int SSL_in_init(void *ssl)`.
 * @throws what koffi says of one that is not there.
 */
export function exportedFunction(prototype: string): (...args: unknown[]) => unknown {
  if (!isSupportedPlatform()) libc();
  return loadKoffi().load(null).func(prototype);
}

/** A function as {@link exportedFunction} has it that leaves what `libc().errno()` tells, where it returns less than 0. */
export function exportedCall(prototype: string): (...args: unknown[]) => unknown {
  return notingErrno(loadKoffi(), exportedFunction(prototype));
}

/** The name of the error that the last failed call left, such as `EMFILE`. */
export function lastErrorName(): string {
  return getSystemErrorName(-libc().errno());
}

/** A failed call as an error that names the call and the reason, which is by default that of the last one. */
export function systemCallError(call: string, detail = '', reason = lastErrorName()): MoultError {
  return new MoultError('MOULT_SYSTEM_CALL', `${call} failed with ${reason}${detail && `: ${detail}`}`, {
    details: { call, reason },
  });
}

const used = new Set<unknown>();

/**
 * Keeps memory until here. To be called after a system call that was given its address inside other memory, or as a
 * number: the collector does not see such a use, and optimised code lets go of what JavaScript names no more.
 * Source: V8 frees the memory of a collected ArrayBuffer; seen as EMSGSIZE, EINVAL, and segmentation faults.
 */
export function keepAlive(...memory: readonly unknown[]): void {
  // A call that no compiler leaves out.
  for (const one of memory) used.add(one);
  used.clear();
}
