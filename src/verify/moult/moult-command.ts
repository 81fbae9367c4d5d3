import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import type { RestartOutcome } from './service-under-test.js';
import { VerifyError } from './verify-error.js';

/** How to call the commands of moult. */
export interface MoultCommandOptions {
  /** The script of the command line (default: this package's own). */
  readonly cliPath?: string;
  /** The environment (default: that of this process). */
  readonly env?: NodeJS.ProcessEnv;
}

/** What `moult status NAME --json` says, as far as a verification needs it. */
export type Status = v.InferOutput<typeof statusSchema>;

const addressSchema = v.union([
  v.object({ address: v.string(), port: v.number(), transport: v.optional(v.string()) }),
  v.object({ path: v.string() }),
]);

const statusSchema = v.object({
  name: v.string(),
  state: v.string(),
  slots: v.optional(v.number()),
  generations: v.array(
    v.object({
      generation: v.number(),
      slot: v.optional(v.number()),
      connections: v.optional(v.number()),
      state: v.string(),
      listeners: v.optional(v.array(v.object({ address: v.nullish(addressSchema) })), []),
    }),
  ),
});

const figure = v.fallback(v.optional(v.number()), undefined);

const resultSchema = v.object({
  type: v.literal('result'),
  ok: v.boolean(),
  generation: figure,
  summary: v.nullish(
    v.object({
      listeners: figure,
      moved: figure,
      draining: figure,
      cut: figure,
      longestPauseMs: figure,
      stages: v.fallback(v.optional(v.array(v.object({ stage: v.string(), ms: v.number() }))), undefined),
    }),
  ),
  error: v.nullish(v.object({ code: v.string(), message: v.string() })),
});

/** The path of the `moult` script that belongs to this module. */
export function ownCliPath(): string {
  return fileURLToPath(import.meta.resolve('#moult/cli/main.js'));
}

/** Asks for the status of a service; undefined while it cannot be reached. */
export async function status(
  name: string | undefined,
  options: MoultCommandOptions,
): Promise<Status | undefined> {
  const { code, stdout } = await call(['status', ...nameArgument(name), '--json'], options);
  if (code !== 0) return undefined;
  return parse(statusSchema, stdout, 'status');
}

/** Restarts a service and waits for the result; a failure, also one of the command, is an outcome. */
export async function restart(
  name: string | undefined,
  options: MoultCommandOptions,
): Promise<RestartOutcome> {
  const { code, stdout, stderr } = await call(['restart', ...nameArgument(name), '--json'], options);
  const last = stdout.trimEnd().split('\n').at(-1) ?? '';
  let result: v.InferOutput<typeof resultSchema>;
  try {
    result = parse(resultSchema, last, 'restart');
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    const message = `exit ${code}, no result: ${(stderr || last).trim().slice(-500)}`;
    return { ok: false, error: { code: error.code, message } };
  }
  return {
    ok: result.ok && code === 0,
    generation: result.generation,
    summary: result.summary ?? undefined,
    error: result.error ?? undefined,
  };
}

/** Undoes the last restart, or goes back to the release before; says whether the command succeeded, and what it said. */
export async function rollback(
  name: string,
  options: MoultCommandOptions,
): Promise<{ readonly ok: boolean; readonly said: string }> {
  const { code, stdout, stderr } = await call(['rollback', name], options);
  return { ok: code === 0, said: (stdout + stderr).trim() };
}

/** Changes how many slots a service has; says whether the command succeeded, and what it said. */
export async function scale(
  name: string,
  slots: number,
  options: MoultCommandOptions,
): Promise<{ readonly ok: boolean; readonly said: string }> {
  const { code, stdout, stderr } = await call(['scale', String(slots), name], options);
  return { ok: code === 0, said: `${stdout}${stderr}`.trim() };
}

/** Asks a service to stop, gracefully; says whether the command succeeded. */
export async function stop(name: string, options: MoultCommandOptions): Promise<boolean> {
  return (await call(['stop', name], options)).code === 0;
}

function nameArgument(name: string | undefined): string[] {
  return name === undefined ? [] : [name];
}

function parse<T extends v.GenericSchema>(schema: T, text: string, command: string): v.InferOutput<T> {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch (error) {
    const message = `moult ${command} --json: expected its documented JSON, got ${JSON.stringify(text.slice(0, 200))}`;
    throw new VerifyError('MOULT_VERIFY_BAD_OUTPUT', message, { cause: error });
  }
}

interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function call(args: readonly string[], options: MoultCommandOptions): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [options.cliPath ?? ownCliPath(), ...args], {
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      // A Ctrl-C at the terminal is the verification's, which still has to ask for the service's end.
      detached: true,
    });
    // First: where there is no descriptor left the outputs are not there, and this tells why.
    child.once('error', reject);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
