/*
 * Has what a process of the service starts known to moult too: a server that a launcher starts with an environment of its
 * own, a helper with a port. CommonJS and without any import of moult's own, as the preload is.
 */
const { ChildProcess }: typeof import('node:child_process') = require('node:child_process');

/** What Node's own functions give to the one that starts a process. Source: node lib/child_process.js, normalizeSpawnArguments. */
interface SpawnOptions {
  readonly detached?: boolean;
  envPairs?: string[];
}

const NODE_OPTIONS = 'NODE_OPTIONS';
const NODE_OPTIONS_WAS = 'MOULT_NODE_OPTIONS_WAS';

/**
 * Gives these variables to every process that this one starts from now on, also when it has them no more itself. A process
 * that is detached is no part of the service; one that is waited for (`spawnSync`) has what `process.env` has.
 * @param preload the file by which moult comes into a Node process.
 */
function keepVariables(supervised: NodeJS.ProcessEnv, preload: string): void {
  const prototype = ChildProcess.prototype as unknown as { spawn?: (options: SpawnOptions) => unknown };
  const original = prototype.spawn;
  if (typeof original !== 'function') return;
  const names = ['SUPERVISOR', 'GENERATION', 'DIRECT', 'KOFFI', 'SLOT', 'HELD'].map(
    (name) => `MOULT_${name}`,
  );
  prototype.spawn = function (this: unknown, options: SpawnOptions, ...rest: unknown[]) {
    const { envPairs, detached } = options;
    if (Array.isArray(envPairs) && detached !== true) {
      const given = (name: string) =>
        envPairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
      const own = withoutPreload(given(NODE_OPTIONS) ?? '', preload);
      const ours: Record<string, string> = {
        [NODE_OPTIONS]: `--require=${JSON.stringify(preload)} ${own}`.trim(),
        [NODE_OPTIONS_WAS]: own,
      };
      for (const name of names) {
        const value = supervised[name];
        if (value !== undefined) ours[name] = value;
      }
      options.envPairs = [
        ...envPairs.filter((pair) => !Object.hasOwn(ours, pair.slice(0, pair.indexOf('=')))),
        ...Object.entries(ours).map(([name, value]) => `${name}=${value}`),
      ];
    }
    return Reflect.apply(original, this, [options, ...rest]);
  };
}

function withoutPreload(nodeOptions: string, preload: string): string {
  return nodeOptions.replace(`--require=${JSON.stringify(preload)}`, '').trim();
}

module.exports = { keepVariables };
