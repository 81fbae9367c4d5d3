import cluster from 'node:cluster';
import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';
import { constants } from 'node:os';
import { bind as bindAs, UV_UDP_REUSEADDR } from '../listeners/bind.js';
import { listen as listenAs } from '../listeners/listen.js';
import { listenerName } from '../listeners/name.js';
import { bindForWorkers as bindForWorkersAs } from '../listeners/worker-datagrams.js';
import { hookBind } from '../node/listening/bind-hook.js';
import type { DatagramHandle } from '../node/listening/datagram-handle.js';
import { type Listen2, type ListenRequest, throughHook } from '../node/listening/listen-hook.js';
import { type SharedBindArgs, sharedBind } from '../node/listening/shared-bind.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { isForOneProcess } from '../os/files/private-path.js';
import { giveBackSpareMemory } from '../os/spare-memory.js';
import { isListening } from '../os/unix-sockets/unix-socket.js';
import type { ServiceThread } from '../threads/service-thread.js';
import { AddonlessService } from './addonless/addonless-service.js';
import { canCallLibc } from './addonless/libc-reach.js';
import { type Beginning, joinSupervisor } from './beginning.js';
import { tellOfWorkers } from './cluster-workers.js';
import { heldIn, passedAtStart, scrub, startedBy } from './environment.js';
import { Generation } from './generation.js';
import { isOwnPath, joinService } from './member.js';
import { refuseProcessManager } from './process-managers.js';

/** How often to check whether a supervisor is there. */
const SUPERVISOR_LOOK_MS = 500;

/** This process's generation; null when it is not the service, undefined while that is not known. */
let generation: Generation | null | undefined;
/** What stands for one in a process that cannot call libc. */
let addonless: AddonlessService | undefined;

/**
 * This process's generation, begun at the first call.
 * @param env what the supervisor said; read once.
 * @returns null when moult did not start this process, or another one of its tree is the service.
 * @throws whatever the supervisor or the predecessor refused with.
 */
export function become(env: NodeJS.ProcessEnv): Generation | null {
  // Its primary is the service, also where that opens nothing itself.
  if (generation === undefined && cluster.isWorker) generation = null;
  if (generation === undefined) {
    const started = startedBy(env);
    // Set first: moult's own servers listen while it begins.
    generation = null;
    if (started !== undefined && !canCallLibc()) addonless = new AddonlessService(started, env);
    else if (started !== undefined) {
      // The last release could not take them in another way; this one inherits.
      for (const { fd } of passedAtStart(env)) closeDescriptor(fd);
      const isStarted = env.MOULT_DIRECT === String(process.pid);
      const beginning = joinSupervisor(started.supervisor, started.generation, isStarted);
      generation = beginning === null ? null : new Generation(beginning);
      if (generation !== null) {
        scrub(process.env);
        tellOfWorkers();
        giveBackSpareMemory();
      }
    }
  }
  return generation;
}

/** This process's place in a service that another process of its tree is; null when there is none, undefined while that is not known. */
let member: ServiceThread | null | undefined;

function becomeMember(env: NodeJS.ProcessEnv): ServiceThread | null {
  if (member === undefined) {
    const started = startedBy(env);
    // Set first: moult's own servers listen while it joins.
    member = null;
    if (started !== undefined && canCallLibc()) member = joinService(started.supervisor, started.generation);
    if (member !== null) scrub(process.env);
  }
  return member;
}

/** Whether this process is the service. */
export function isService(): boolean {
  return generation instanceof Generation || addonless !== undefined;
}

/** Makes this process a generation that nobody else oversees. @param begin is called with hooks off, for moult's own servers. */
export function becomeAlone(begin: () => Beginning): Generation {
  generation = null;
  generation = new Generation(begin());
  return generation;
}

/** Called for every listen() of the process, in place of Node's own last step. */
export function listen(
  server: Server,
  original: Listen2,
  args: Parameters<Listen2>,
  env: NodeJS.ProcessEnv,
): void {
  const decide: Parameters<typeof throughHook>[0] = (request, proceed) => {
    const path = request.port < 0 ? request.address : null;
    if (path !== null) refuseProcessManager(path);
    const isOwnAffair = path !== null && isForOneProcess(path, process.pid);
    const mine = isOwnAffair ? null : become(env);
    const mayJoin = mine === null && addonless === undefined && !isOwnAffair;
    const joined = mayJoin && changesHands(request, env) ? becomeMember(env) : null;
    mine?.stopDelay.listens(server);
    if (mine !== null) listenAs(mine.listeners, request, proceed);
    else if (addonless !== undefined && !isOwnAffair) addonless.listen(request, proceed);
    else if (joined !== null) joined.listen(request, proceed);
    else proceed();
  };
  throughHook(decide, server, original, args);
}

// Of another process of the service only what has a port of its own, or a path, is known by its name in the next generation.
function changesHands(request: ListenRequest, env: NodeJS.ProcessEnv): boolean {
  const { port, fd, address } = request;
  if (port >= 0 || fd !== undefined || address === null) return port > 0;
  const started = startedBy(env);
  if (started === undefined || !canCallLibc()) return false;
  return heldIn(env).includes(listenerName(request)) || !isOwnPath(started);
}

/** Called for every bind() of a datagram socket to a port that it names, before Node's own. */
export function bind(socket: Socket, env: NodeJS.ProcessEnv): void {
  hookBind(socket, (request) => {
    const mine = become(env);
    if (mine !== null) return bindAs(mine.listeners, request);
    // One that shares its address by its own wish, such as for multicast, finds it free beside the older generation's.
    const isShared = (request.flags & UV_UDP_REUSEADDR) !== 0;
    const joined = request.port > 0 && !isShared ? becomeMember(env) : null;
    return joined === null ? request.proceed() : joined.bind(request);
  });
}

/** Called in the primary of node:cluster, before it binds a datagram socket for its workers. @returns as a bind. */
export function bindForWorkers(
  handle: object,
  bind: SharedBindArgs[0],
  args: SharedBindArgs[1],
  env: NodeJS.ProcessEnv,
): number {
  const request = sharedBind(handle as DatagramHandle, bind, args);
  const mine = become(env);
  if (mine !== null) return bindForWorkersAs(mine.listeners, request);
  return becomeMember(env)?.bindForWorkers(request) ?? request.proceed();
}

/** Called in the primary of node:cluster when one of its workers is about to listen by itself: the primary leads it. */
export function lead(env: NodeJS.ProcessEnv): void {
  become(env);
}

/** Whether what is bound for workers of this process changes hands. */
export function leads(): boolean {
  return generation instanceof Generation || (member ?? null) !== null;
}

/**
 * Called in a worker of node:cluster that was given a datagram socket which it shares with other workers.
 * @returns 0, or a negative error number of libuv: it must not receive before it may.
 */
export function shareDatagrams(
  socket: Socket,
  handle: object,
  asked: { readonly address: string; readonly port: number; readonly flags: number },
  env: NodeJS.ProcessEnv,
): number {
  if (startedBy(env) === undefined || !canCallLibc()) return 0;
  const joined = becomeMember(env);
  if (joined === null) return -constants.errno.ETIMEDOUT;
  joined.share(socket, handle as DatagramHandle, asked);
  return 0;
}

/** Called when the process has lived for as long as a service without a listener takes to be ready. */
export function lives(env: NodeJS.ProcessEnv): void {
  try {
    const started = startedBy(env);
    // Killed since it started this process: the next one asks for what that one had started.
    if (
      generation === undefined &&
      started !== undefined &&
      canCallLibc() &&
      !isListening(started.supervisor)
    ) {
      setTimeout(() => lives(env), SUPERVISOR_LOOK_MS).unref();
      return;
    }
    become(env)?.lives();
    addonless?.lives();
  } catch (error) {
    // The service itself has asked for nothing, so that nothing may fail for it.
    process.emitWarning(`it cannot be restarted: ${String(error)}`, 'MoultWarning');
  }
}

/** The names of listeners that are held for this process, and on which it does not listen yet; undefined while it is not known whether it is the service. */
export function held(): readonly string[] | undefined {
  return addonless?.held() ?? (generation === null ? [] : generation?.held());
}

/** Called when a worker thread is about to listen. @returns where it joins this process's generation; null when this process is not the service. */
export async function admitThread(shut: SharedArrayBuffer, env: NodeJS.ProcessEnv): Promise<string | null> {
  const door = become(env)?.doorForThreads(new Int32Array(shut));
  return door ?? (addonless === undefined ? becomeMember(env)?.mainDoor : null) ?? null;
}

/** Called when the service says that it is ready. */
export function ready(env: NodeJS.ProcessEnv): void {
  become(env)?.said();
  addonless?.said();
}
