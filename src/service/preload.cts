/*
 * Loaded into every Node process of a service's process tree (npm, shells' children, the service itself), so
 * it costs next to nothing: it only watches for the first listen() or bind(), by which the service shows itself. The
 * rest of moult is loaded then. CommonJS, so that the start of the program stays what it was.
 */
const cluster: typeof import('node:cluster').default = require('node:cluster');
const threads: typeof import('node:worker_threads') = require('node:worker_threads');
const children: Children = require('./preload/children.cjs');
const inCluster: Cluster = require('./preload/cluster.cjs');
const fs: typeof import('node:fs') = require('node:fs');
const path: typeof import('node:path') = require('node:path');
const hooks: Hooks = require('./preload/hooks.cjs');
const paths: { keepPaths(folder: string): void } = require('./preload/path-hooks.cjs');
const connecting: ConnectHook = require('./preload/connect-hook.cjs');
const { isLastOfTree }: { isLastOfTree(): boolean } = require('./preload/last-of-tree.cjs');

type Hooks = import('../node/listening/listen-hook.js', { with: { 'resolution-mode': 'import' }}).Hooks;
type Children = {
  keepVariables(supervised: NodeJS.ProcessEnv, preload: string): void;
};
type Cluster = {
  acceptInPrimary(): void;
  onLeading(lead: () => void): void;
  onShare(decide: (...args: Omitted<Entry['shareDatagrams']>) => number): void;
  onSharedBind(decide: (...args: Omitted<Entry['bindForWorkers']>) => number): void;
  tellOfDatagrams(changeHands: () => boolean): void;
};
type Omitted<F> = F extends (...args: [...infer A, NodeJS.ProcessEnv]) => unknown ? A : never;
type ConnectHook = { refuseConnectionsTo(held: () => readonly string[]): void };
type Entry = typeof import('./service-entry.js', { with: { 'resolution-mode': 'import' }});
type ThreadEntry = typeof import('../threads/entry.js', { with: { 'resolution-mode': 'import' }});
type DoorAnswer = import('../threads/mark.js', { with: { 'resolution-mode': 'import' }}).DoorAnswer;
type DoorQuestion = import('../threads/mark.js', { with: { 'resolution-mode': 'import' }}).DoorQuestion;

/** Tells worker threads that their process runs under moult; see threads/mark.ts. */
const MARK = 'moult';
/** Tells them where the paths of listeners are kept: they remove them as the main thread does. */
const FOLDER = 'moult.folder';
/** As in os/libc.ts: how a service finds the package by which it calls libc. */
const KOFFI = 'moult.koffi';
/** As in threads/mark.ts, which is not loaded until it is needed. */
const ASKING = 'moult.threads.1';

/** A process that is busier than this is still loading: a large service, or a slow machine. */
const SETTLED_SHARE = 0.3;
const SETTLED_LOOK_MS = 1000;

/** A wrapper of Node may take so long to start the process below it. */
const WRAPPER_MS = 1000;

/**
 * Calls back when the process has lived for a time, and then has had little to do for a second.
 * @param atMostMs since its start: one that is busy for longer works, and does not load.
 */
function onceSettled(afterMs: number, atMostMs: number, then: () => void): void {
  const look = (before: import('node:perf_hooks').EventLoopUtilization): void => {
    const { utilization } = performance.eventLoopUtilization(before);
    if (utilization < SETTLED_SHARE || performance.now() >= atMostMs) then();
    else wait(SETTLED_LOOK_MS);
  };
  const wait = (ms: number): void => {
    const before = performance.eventLoopUtilization();
    const leftMs = Math.max(0, atMostMs - performance.now());
    setTimeout(() => look(before), Math.min(ms, leftMs)).unref();
  };
  const firstMs = Math.max(0, afterMs - SETTLED_LOOK_MS);
  setTimeout(() => wait(afterMs - firstMs), firstMs).unref();
}

function watch(): void {
  const { env } = process;
  if (!threads.isMainThread) {
    const mark = threads.getEnvironmentData(MARK);
    const folder = threads.getEnvironmentData(FOLDER);
    if (typeof folder === 'string') paths.keepPaths(folder);
    if (mark instanceof SharedArrayBuffer) watchThread(mark);
    return;
  }
  if (!env.MOULT_SUPERVISOR) return;
  if (cluster.isWorker) {
    watchWorker({ ...env });
    return;
  }
  const folder = path.dirname(env.MOULT_SUPERVISOR);
  paths.keepPaths(folder);
  threads.setEnvironmentData(FOLDER, folder);
  const shut = new SharedArrayBuffer(4);
  threads.setEnvironmentData(MARK, shut as unknown as Parameters<typeof threads.setEnvironmentData>[1]);
  if (env.MOULT_KOFFI) threads.setEnvironmentData(KOFFI, env.MOULT_KOFFI);
  // The command that was started is the first to come here; what it starts knows by this that it is another process.
  if (env.MOULT_DIRECT === '1') env.MOULT_DIRECT = String(process.pid);
  const isHelper = env.MOULT_DIRECT !== undefined && env.MOULT_DIRECT !== String(process.pid);
  const supervised = { ...env };
  children.keepVariables(supervised, __filename);
  inCluster.acceptInPrimary();

  let entry: Entry | undefined;
  const load = (): Entry => {
    entry ??= (require('../standalone/service-bundle.cjs') as { entry: Entry }).entry;
    return entry;
  };
  // For the library, which the service may import from another copy of this package.
  Object.defineProperty(globalThis, Symbol.for('moult.entry.1'), {
    value: () => ({ entry: load(), env: supervised }),
  });
  hooks.onListen((server, original, args) => {
    const [, port] = args;
    // A port of the system's choice is what a helper of the service tells to the service alone.
    if ((isHelper && port === 0) || isMoultItself()) original.apply(server, args);
    else load().listen(server, original, args, supervised);
  });
  hooks.onDatagramBind((socket) => {
    if (!isMoultItself()) load().bind(socket, supervised);
  });
  inCluster.onSharedBind((...args) => load().bindForWorkers(...args, supervised));
  inCluster.onLeading(() => load().lead(supervised));
  inCluster.tellOfDatagrams(() => entry?.leads() === true);
  const held = heldBefore(supervised);
  connecting.refuseConnectionsTo(() => entry?.held() ?? held());

  // One that shows no listener is known by its life: the command itself, or below a wrapper the last Node process.
  const { MOULT_READY_AFTER: readyAfter } = supervised;
  if (readyAfter !== undefined && !isHelper) {
    const [afterMs = 0, atMostMs = Number.POSITIVE_INFINITY] = readyAfter.split(' ').map(Number);
    const shortestMs = supervised.MOULT_DIRECT === undefined ? WRAPPER_MS : 0;
    const live = () => {
      const isIt = supervised.MOULT_DIRECT !== undefined || entry?.isService() || isLastOfTree();
      if (isIt && !isMoultItself()) load().lives(supervised);
    };
    onceSettled(Math.max(afterMs, shortestMs), atMostMs, live);
  }

  process.once('worker', () => awaitThreads((answer) => load().admitThread(shut, supervised).then(answer)));

  // As users of PM2 and of naught say that they are ready; where a real channel exists it still gets the message.
  const send = process.send?.bind(process) as ((...args: unknown[]) => boolean) | undefined;
  process.send = ((message: unknown, ...rest: unknown[]) => {
    // What a helper says there is meant for the service.
    const isSaid = message === 'ready' || message === 'online';
    if (isSaid && (!isHelper || entry?.isService())) load().ready(supervised);
    return send?.(message, ...rest) ?? true;
  }) as NonNullable<typeof process.send>;
}

/** A worker of node:cluster: what its primary has not opened for it changes hands as another process's of the service does. */
function watchWorker(supervised: NodeJS.ProcessEnv): void {
  paths.keepPaths(path.dirname(supervised.MOULT_SUPERVISOR ?? ''));
  let entry: Entry | undefined;
  const load = (): Entry => {
    entry ??= (require('../standalone/service-bundle.cjs') as { entry: Entry }).entry;
    return entry;
  };
  inCluster.onShare((...args) => load().shareDatagrams(...args, supervised));
  hooks.onListen((server, original, args) => {
    const [, port] = args;
    // One that has its handle has it from the primary. A port of the system's choice is nobody else's.
    const isGiven = Boolean((server as { _handle?: unknown })._handle);
    if (isGiven || port === 0 || isMoultItself()) original.apply(server, args);
    else load().listen(server, original, args, supervised);
  });
  hooks.onDatagramBind((socket) => {
    if (!isMoultItself()) load().bind(socket, supervised);
  });
}

// Before the service has shown itself it may be any process of the tree; when it has, the others reach it as ever.
function heldBefore({
  MOULT_HELD,
  MOULT_SUPERVISOR = '',
  MOULT_GENERATION,
}: NodeJS.ProcessEnv): () => string[] {
  let names: string[] = [];
  try {
    names = JSON.parse(MOULT_HELD ?? '[]') as string[];
  } catch {
    // Somebody has changed it: nothing is refused.
  }
  const isDoor = (file: string) => file.startsWith(`g${MOULT_GENERATION}-`);
  return () => {
    if (names.length === 0) return names;
    try {
      if (fs.readdirSync(path.dirname(MOULT_SUPERVISOR)).some(isDoor)) names = [];
    } catch {
      names = [];
    }
    return names;
  };
}

// A thread that is about to listen waits for the answer. Nothing is loaded before that: most workers never listen.
function awaitThreads(admit: (answer: (door: string | null) => void) => Promise<unknown>): void {
  const asking = new threads.BroadcastChannel(ASKING);
  asking.unref();
  asking.onmessage = ((event: { data: DoorQuestion | DoorAnswer }) => {
    const { data } = event;
    if (!('thread' in data)) return;
    const say = (answer: Omit<DoorAnswer, 'to'>) => asking.postMessage({ to: data.thread, ...answer });
    const failed = (error: unknown) => say({ door: null, error: String(error) });
    try {
      admit((door) => say({ door })).catch(failed);
    } catch (error) {
      failed(error);
    }
  }) as typeof asking.onmessage;
}

function watchThread(mark: SharedArrayBuffer): void {
  let entry: ThreadEntry | undefined;
  const load = (): ThreadEntry => {
    entry ??= require('../threads/entry.cjs') as ThreadEntry;
    return entry;
  };
  hooks.onListen((server, original, args) => load().listen(server, original, args, mark));
  hooks.onDatagramBind((socket) => load().bind(socket, mark));
}

/** Whether this process is a command of moult that something of the service has started; see cli/environment.ts. */
function isMoultItself(): boolean {
  return Object.hasOwn(globalThis, Symbol.for('moult.command.1'));
}

watch();
