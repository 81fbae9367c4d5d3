import { createRequire } from 'node:module';
import { dirname, extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MoultError } from '../errors.js';
import { readPatiently } from '../os/files/patient-read.js';
import { calledNode } from '../os/processes/invocation.js';
import { withoutNodeOptions } from '../os/processes/node-options.js';
import { runToEnd } from '../os/processes/run-to-end.js';

/** How long a config file may take to say what it holds. */
const TIMEOUT_MS = 15_000;
const MAX_OUTPUT = 4 * 1024 * 1024;
const MAX_COMPLAINT = 16_000;
/** Before what it holds: the file may write to standard output, too. */
const MARK = '\u0000moult config\u0000';

// Found when this process starts: the moult that was started may be removed later.
const jiti = found('jiti');
const own = found('moult/config');

/**
 * What a config file holds, as plain data. A script runs in a process of its own: what it does, and what it leaves open,
 * is no affair of whoever asks, and each time it is read anew with all that it imports.
 * @throws MOULT_CONFIG_FAILED
 */
export async function evaluateConfig(file: string): Promise<unknown> {
  if (extname(file) !== '.json') return evaluateScript(file);
  try {
    return JSON.parse(readPatiently(file));
  } catch (cause) {
    throw failed(file, (cause as Error).message, cause);
  }
}

async function evaluateScript(file: string): Promise<unknown> {
  const means: Means = { path: file, url: pathToFileURL(file).href, jiti, own, mark: MARK };
  const launch = {
    command: calledNode(),
    args: ['-e', `(${evaluate.toString()})(${JSON.stringify(means)})`],
    cwd: dirname(file),
    env: withoutNodeOptions(process.env),
  };
  const { exit, isLate, stdout, stderr } = await runToEnd(launch, {
    timeoutMs: TIMEOUT_MS,
    keep: MAX_OUTPUT,
    kept: 'first',
  });
  if (isLate) throw failed(file, `it did not return its config within ${TIMEOUT_MS / 1000} s`);
  const [, answer] = stdout.split(MARK);
  if (answer === undefined) {
    const how = `it exited with ${exit.code ?? exit.signal} and no error message`;
    const unsettled = 'it ended without a config: by process.exit(), or a promise that is never settled';
    throw failed(file, stderr.slice(0, MAX_COMPLAINT).trim() || (exit.code === 0 ? unsettled : how));
  }
  const { config, error } = JSON.parse(answer) as { config?: unknown; error?: string };
  if (error !== undefined) throw failed(file, error);
  return config;
}

function found(name: string): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch {
    return undefined;
  }
}

function failed(file: string, why: string, cause?: unknown): MoultError {
  return new MoultError('MOULT_CONFIG_FAILED', `${file} could not be read: ${why}`, { cause });
}

interface Means {
  readonly path: string;
  readonly url: string;
  readonly jiti: string | undefined;
  readonly own: string | undefined;
  readonly mark: string;
}

/** Source: Node's documentation, module.registerHooks, since 22.15 and 23.5. */
type RegisterHooks = (hooks: {
  resolve(name: string, context: object, next: (name: string, context: object) => object): object;
}) => void;

// Runs in the process of the file, from its text: nothing that is outside of it is there.
async function evaluate({ path, url, jiti, own, mark }: Means): Promise<void> {
  const modules = await import('node:module');
  const { registerHooks } = modules as { readonly registerHooks?: RegisterHooks };
  const { writeSync } = await import('node:fs');
  const answer = (what: object) => {
    const bytes = Buffer.from(`${mark}${JSON.stringify(what)}${mark}`);
    for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
    process.exit(0);
  };
  // Where moult is installed beside the project, and not in it.
  const ownUrl = 'data:text/javascript,export const defineConfig = (config) => config';
  const hooks = `export const resolve = (name, context, next) => next(name, context).catch((error) => {
    if (name === 'moult/config') return { url: '${ownUrl}', shortCircuit: true };
    throw error;
  });`;
  const load = async (): Promise<{ default?: unknown }> => {
    const isTypeScript = /\.[cm]?ts$/.test(path);
    const strips = (process.features as { typescript?: unknown }).typescript;
    if (!isTypeScript || strips) {
      try {
        return await import(url);
      } catch (error) {
        if ((error as { code?: unknown } | undefined)?.code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX')
          throw error;
      }
    }
    if (jiti === undefined)
      throw new Error('this Node cannot load TypeScript, and jiti, a dependency of moult, is missing');
    const { createJiti } = await import(jiti);
    const alias = own === undefined ? {} : { 'moult/config': own };
    return createJiti(path, { fsCache: false, moduleCache: false, alias }).import(path);
  };
  const around: unknown[] = [];
  const assertPlain = (value: unknown, at: string): void => {
    if (around.includes(value)) throw new Error(`${at}: expected plain data, received what it is a part of`);
    around.push(value);
    assertEach(value, at);
    around.pop();
  };
  const assertEach = (value: unknown, at: string): void => {
    const type = typeof value;
    if (value === null || value === undefined || type === 'string' || type === 'boolean') return;
    if (type === 'number' && Number.isFinite(value)) return;
    if (Array.isArray(value)) {
      for (const [i, one] of value.entries()) assertPlain(one, `${at}[${i}]`);
    } else if (type === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
      for (const [key, one] of Object.entries(value as object))
        assertPlain(one, at === '' ? key : `${at}.${key}`);
    } else {
      const name = type === 'object' ? ((value as object).constructor?.name ?? 'object') : String(type);
      throw new Error(`${at || 'its default export'}: expected plain data, received ${name}`);
    }
  };
  try {
    if (registerHooks === undefined) modules.register(`data:text/javascript,${encodeURIComponent(hooks)}`);
    registerHooks?.({
      resolve(name, context, next) {
        try {
          return next(name, context);
        } catch (error) {
          if (name === 'moult/config') return { url: ownUrl, shortCircuit: true };
          throw error;
        }
      },
    });
    const loaded = await load();
    const exported = loaded.default;
    const config = typeof exported === 'function' ? await exported() : exported;
    if (typeof config !== 'object' || config === null) {
      throw new Error('expected an object, or a function that returns one, as its default export');
    }
    assertPlain(config, '');
    answer({ config });
  } catch (error) {
    const { inspect } = await import('node:util');
    const isError = error instanceof Error || typeof (error as Error | null)?.message === 'string';
    const { message, stack } = isError ? (error as Error) : new Error(`it threw ${inspect(error)}`);
    const line = String(stack).match(/\S*moult\.config[^\s)]*:\d+/)?.[0] ?? '';
    answer({ error: line === '' || message.includes(line) ? message : `${message} (${line})` });
  }
}
