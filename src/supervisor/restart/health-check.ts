import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { MoultError } from '../../errors.js';
import { markInternal } from '../../node/listening/listen-hook.js';
import { type Launch, launch } from '../../os/processes/launch.js';
import { describeExit } from '../../os/processes/process.js';
import type { Check, CheckOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';

/** A check that says nothing of the generation, because it could not be made. */
class NotMade extends Error {}

/** Whether a failed check says nothing of the generation: what it needs on this side could not be had. */
export function wasNotMade(error: unknown): boolean {
  return error instanceof MoultError && error.details?.notMade === true;
}

/**
 * Reads `--check`: a path (`/healthz`), `tcp`, or `exec:COMMAND`.
 * @returns undefined when it is none of them.
 */
export function parseCheck(value: string): Check | undefined {
  if (value.startsWith('/')) return { kind: 'http', path: value };
  if (value === 'tcp') return { kind: 'tcp' };
  if (value.startsWith('exec:') && value.length > 5) return { kind: 'exec', command: value.slice(5) };
  return undefined;
}

/** The longest that {@link runCheck} may take, in milliseconds. */
export function checkBudgetMs(options: CheckOptions | null): number {
  return options === null ? 0 : (options.retries + 1) * (options.timeoutMs + options.intervalMs);
}

/**
 * Checks a generation over a private connection, past its gate: no client has reached it yet.
 * @throws MOULT_CHECK_FAILED with what was expected and what came at the last try.
 */
export async function runCheck(
  generation: GenerationProcess,
  options: CheckOptions,
  isTls: boolean,
  folder: string,
): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await once(generation, options, isTls, folder);
      return;
    } catch (cause) {
      if (generation.exit !== undefined || tries >= options.retries) {
        throw failed(generation, cause);
      }
      await new Promise((resolve) => setTimeout(resolve, options.intervalMs));
    }
  }
}

function failed({ number }: GenerationProcess, cause: unknown): MoultError {
  // A call of the system on this side.
  const isNotMade =
    cause instanceof NotMade || (cause instanceof MoultError && cause.code === 'MOULT_SYSTEM_CALL');
  const reason = cause instanceof Error ? cause.message : String(cause);
  const how = isNotMade ? 'could not be made' : 'failed';
  return new MoultError('MOULT_CHECK_FAILED', `the check of generation ${number} ${how}: ${reason}`, {
    stage: 'check',
    cause,
    ...(isNotMade ? { details: { notMade: true } } : {}),
  });
}

async function once(
  generation: GenerationProcess,
  options: CheckOptions,
  isTls: boolean,
  folder: string,
): Promise<void> {
  switch (options.check.kind) {
    case 'http':
      return checkHttp(await generation.reach(options.timeoutMs), options.check.path, options, isTls);
    case 'tcp':
      return checkTcp(await generation.reach(options.timeoutMs), options.timeoutMs);
    case 'exec':
      return checkExec(generation, options.check.command, options.timeoutMs, folder);
  }
}

function checkHttp(socket: Socket, path: string, options: CheckOptions, isTls: boolean): Promise<void> {
  const [lowest, highest] = options.status;
  return new Promise((resolve, reject) => {
    const stream = isTls ? connectTls({ socket, rejectUnauthorized: false }) : socket;
    const timer = setTimeout(
      () => fail(new Error(`GET ${path}: no answer within ${options.timeoutMs} ms`)),
      options.timeoutMs,
    );
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    stream.on('error', fail);
    const asked = request(
      {
        createConnection: () => stream,
        path,
        headers: { host: 'localhost', connection: 'close', 'user-agent': 'moult-check' },
      },
      (response) => {
        response.on('error', fail);
        response.on('end', () => {
          clearTimeout(timer);
          socket.destroy();
          const { statusCode = 0 } = response;
          if (statusCode >= lowest && statusCode <= highest) resolve();
          else
            reject(new Error(`GET ${path}: expected status ${lowest} to ${highest}, received ${statusCode}`));
        });
        response.resume();
      },
    );
    asked.on('error', fail);
    asked.end();
  });
}

// A server that refuses to serve closes at once; one that is stuck does not take the connection at all.
function checkTcp(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => {
        socket.destroy();
        resolve();
      },
      Math.min(timeoutMs, 200),
    );
    const fail = () => {
      clearTimeout(timer);
      socket.destroy();
      reject(new Error('expected an open connection, it was closed immediately'));
    };
    socket.on('error', fail);
    socket.on('end', fail);
    socket.resume();
  });
}

// The command reaches the successor, whose gate is shut, through a socket of its own.
async function checkExec(
  generation: GenerationProcess,
  command: string,
  timeoutMs: number,
  folder: string,
): Promise<void> {
  // Not a name that something may lie at already.
  const path = join(folder, `check-${generation.number}-${randomBytes(3).toString('hex')}.sock`);
  const clients = new Set<Socket>();
  const bridge = createServer((client) => {
    clients.add(client);
    client.on('error', () => client.destroy());
    client.on('close', () => clients.delete(client));
    generation.reach(timeoutMs).then(
      (service) => {
        service.on('error', () => service.destroy());
        client.on('close', () => service.destroy());
        client.pipe(service).pipe(client);
      },
      () => client.destroy(),
    );
  });
  markInternal(bridge);
  await new Promise<void>((resolve, reject) => {
    bridge.on('error', (cause) => reject(new NotMade(`no socket could be made for it: ${cause.message}`)));
    bridge.listen(path, resolve);
  });
  try {
    await runCommand(generation.release, command, timeoutMs, path);
  } finally {
    bridge.close();
    for (const client of clients) client.destroy();
  }
}

async function runCommand(
  { cwd, env }: Launch,
  command: string,
  timeoutMs: number,
  socket: string,
): Promise<void> {
  const shell = { command: 'sh', args: ['-c', command], cwd, env: { ...env, MOULT_CHECK_SOCKET: socket } };
  const child = launch(shell);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('error', () => {});
    stream?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-500);
    });
  }
  const timer = setTimeout(() => child.kill(), timeoutMs);
  const exit = await child.exited;
  clearTimeout(timer);
  // What it has left running must not keep them open.
  for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  if (exit.notStarted !== undefined) throw new NotMade(`the shell ${describeExit(exit)}`);
  if (exit.code === 0) return;
  const how = exit.signal === null ? `received ${exit.code}` : `ended by ${exit.signal}`;
  throw new Error(`${command}: expected exit status 0, ${how}; ${said.trim()}`);
}
