/*
 * Loaded into every Node process of a service's process tree (npm, shells' children, the service itself), so
 * it costs next to nothing: it only watches for the first listen() or bind(), by which the service shows itself. The
 * rest of moult is loaded then. CommonJS, so that the start of the program stays what it was.
 */
const cluster: typeof import('node:cluster').default = require('node:cluster');
const threads: typeof import('node:worker_threads') = require('node:worker_threads');
const hooks: Hooks = require('./hooks.cjs');

type Hooks = import('../node/listen-hook.js', { with: { 'resolution-mode': 'import' }}).Hooks;
type Entry = typeof import('./entry.js', { with: { 'resolution-mode': 'import' }});

/** Tells worker threads that their process runs under moult. */
const MARK = 'moult';

function watch(): void {
  const { env } = process;
  if (!threads.isMainThread) {
    if (threads.getEnvironmentData(MARK) === true) warnOfListening();
    return;
  }
  if (!env.MOULT_SUPERVISOR || cluster.isWorker) return;
  threads.setEnvironmentData(MARK, true);
  const supervised = { ...env };
  if (env.MOULT_DIRECT) clear(env);

  let entry: Entry | undefined;
  const load = (): Entry => {
    entry ??= loadQuietly();
    return entry;
  };
  // For the library, which the service may import from another copy of this package.
  Object.defineProperty(globalThis, Symbol.for('moult.entry.1'), {
    value: () => ({ entry: load(), env: supervised }),
  });
  hooks.onListen((server, original, args) => load().listen(server, original, args, supervised));
  hooks.onDatagramBind((socket) => load().bind(socket, supervised));

  // As users of PM2 and of naught say that they are ready; where a real channel exists it still gets the message.
  const send = process.send?.bind(process) as ((...args: unknown[]) => boolean) | undefined;
  process.send = ((message: unknown, ...rest: unknown[]) => {
    if (message === 'ready' || message === 'online') load().ready(supervised);
    return send?.(message, ...rest) ?? true;
  }) as NonNullable<typeof process.send>;
}

// A listener of a worker thread cannot change hands yet; its operator learns so at the start, not at a restart.
function warnOfListening(): void {
  let hasWarned = false;
  const warn = (): void => {
    if (hasWarned) return;
    hasWarned = true;
    process.emitWarning(
      'this service listens in a worker thread; moult cannot restart it without loss',
      'MoultWarning',
    );
  };
  hooks.onDatagramBind(warn);
  hooks.onListen((server, original, args) => {
    warn();
    original.apply(server, args);
  });
}

function clear(env: NodeJS.ProcessEnv): void {
  const was = env.MOULT_NODE_OPTIONS_WAS;
  if (was) env.NODE_OPTIONS = was;
  else delete env.NODE_OPTIONS;
  for (const name of ['MOULT_SUPERVISOR', 'MOULT_GENERATION', 'MOULT_NODE_OPTIONS_WAS', 'MOULT_DIRECT'])
    delete env[name];
}

// require() of an ES module is no experiment for us: it is what Node 20.19 was chosen for.
function loadQuietly(): Entry {
  const warn = process.emitWarning;
  process.emitWarning = (() => {}) as typeof process.emitWarning;
  try {
    return require('./entry.js') as Entry;
  } finally {
    process.emitWarning = warn;
  }
}

watch();
