import { Command, type CommanderError, InvalidArgumentError, Option } from 'commander';
import { LiveLine } from '../../terminal/live-line.js';
import { print, printJson, tell } from '../../terminal/print.js';
import { screenOf as terminalOf } from '../../terminal/screen.js';
import type { RequestTemplate } from '../../verify/client/request.js';
import type { Target } from '../../verify/client/target.js';
import type { Load, LoadOptions } from '../../verify/load.js';
import type { ServiceUnderTest } from '../../verify/moult/service-under-test.js';
import { runningService, startUnderMoult } from '../../verify/moult/under-moult.js';
import { VerifyError } from '../../verify/moult/verify-error.js';
import { progressLine } from '../../verify/report/progress.js';
import { renderReport, reportJson } from '../../verify/report/report.js';
import { screenOf } from '../../verify/report/report-screen.js';
import type { ClientKind } from '../../verify/tally/client-kind.js';
import { type VerifyEvent, verify } from '../../verify/verify.js';

interface Flags {
  readonly restarts: number;
  readonly clients: number;
  readonly pipelined: number;
  readonly slow: number;
  readonly new: number;
  readonly thinkMs: number;
  readonly steadyMs: number;
  readonly path?: string;
  readonly slowPath?: string;
  readonly method: string;
  readonly url?: URL;
  readonly name?: string;
  readonly echo?: true;
  readonly json?: true;
  readonly https?: true;
  readonly insecure?: true;
}

/**
 * The command `moult verify`. Exit status: 0 if nothing failed or was lost, 1 if something was or the
 * service could not be tested, 2 for bad usage.
 */
export function verifyCommand(): Command {
  const command = new Command('verify');
  command
    .description('restart a service repeatedly under load, and check that no request is lost')
    .usage('[options] -- <script.js | command …>\n       moult verify [options] --url <url>')
    .argument('[command...]', 'the service to start under moult')
    .option('--restarts <n>', 'number of restarts', count, 20)
    .option('--clients <n>', 'kept-alive clients', count, 100)
    .option('--pipelined <n>', 'pipelining clients', count, 20)
    .option('--slow <n>', 'clients that send a body in pieces', count, 20)
    .option('--new <n>', 'clients that connect for each request', count, 20)
    .option('--think-ms <ms>', 'mean think time of a client', milliseconds, 20)
    .option('--steady-ms <ms>', 'steady state after each restart', milliseconds, 500)
    .option('--path <path>', 'path of the requests (default: "/", or that of --url)', requestPath)
    .option('--slow-path <path>', 'path of the requests with a body (default: --path)', requestPath)
    .option('--method <method>', 'method of the requests without a body', word, 'GET')
    .option('--url <url>', 'test a service that already runs under moult', httpUrl)
    .option('--name <name>', 'its name, if several run (with --url)')
    .option('--https', 'the started service speaks TLS')
    .option('--insecure', 'accept any certificate (implies --https for a started service)')
    .option('--json', 'print the report as JSON')
    .addOption(new Option('--echo', 'the service speaks the echo protocol of our fixtures').hideHelp())
    .exitOverride(exitWithUsage)
    .action(async (words: string[], flags: Flags) => {
      if (flags.url === undefined && words.length === 0) {
        command.error('error: expected a command after "--", or --url, got neither', { exitCode: 2 });
      }
      if (flags.url !== undefined && words.length > 0) {
        command.error('error: expected a command or --url, got both', { exitCode: 2 });
      }
      process.exitCode = await run(words, flags);
    });
  return command;
}

async function run(words: readonly string[], flags: Flags): Promise<number> {
  const progress = new Progress();
  const [interrupted, forced] = [new AbortController(), new AbortController()];
  const interrupt = () => {
    if (!interrupted.signal.aborted) {
      progress.say('stopping: the load first, then the service; press Ctrl-C again to stop both at once');
      interrupted.abort();
    } else if (!forced.signal.aborted) {
      progress.say('stopping at once: requests in flight are cut');
      forced.abort();
    } else process.exit(INTERRUPTED);
  };
  for (const name of ENDS) process.on(name, interrupt);
  let service: ServiceUnderTest | undefined;
  try {
    progress.show('starting the service');
    service =
      flags.url === undefined
        ? await startUnderMoult({ command: words, signal: interrupted.signal, force: forced.signal })
        : runningService({ target: targetOf(flags.url), name: flags.name });
    const result = await verify({
      service,
      load: loadOptions(flags),
      restarts: flags.restarts,
      steadyMs: flags.steadyMs,
      signal: interrupted.signal,
      onEvent: (event) => progress.tell(event),
    });
    progress.end();
    const screen = screenOf(process.stdout, process.env);
    if (flags.json === true) printJson(JSON.parse(reportJson(result)));
    else print(renderReport(result, screen).trimEnd());
    return forced.signal.aborted ? INTERRUPTED : result.ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    progress.end();
    tell(`${error.code}: ${error.message}`);
    return 1;
  } finally {
    progress.end();
    await service?.stop();
    for (const name of ENDS) process.off(name, interrupt);
  }
}

/** A terminal that is closed ends a verification, too. */
const ENDS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** As of a process that SIGINT has ended. */
const INTERRUPTED = 130;
const LIVE_LINE_MS = 200;

/** A live line on a terminal, lines elsewhere; on stderr, so that stdout is the report alone. */
class Progress {
  readonly #line = terminalOf(process.stderr).live ? new LiveLine() : undefined;
  #load: Load | undefined;
  #restart = 'steady state';
  readonly #timer =
    this.#line === undefined ? undefined : setInterval(() => this.#refresh(), LIVE_LINE_MS).unref();

  show(text: string): void {
    if (this.#line === undefined) tell(text);
    else this.#line.show(text);
  }

  /** A line that stays. */
  say(text: string): void {
    if (this.#line === undefined) tell(text);
    else this.#line.keep(text);
  }

  #refresh(): void {
    if (this.#line === undefined || this.#load === undefined) return;
    const { requests, failed, lost } = this.#load.snapshot().total;
    const found = `${requests.toLocaleString('en-US')} requests, ${failed} failed, ${lost} lost`;
    this.#line.show(`${this.#restart}: ${found}`);
  }

  tell(event: VerifyEvent): void {
    if (event.type === 'load') this.#load = event.load;
    if (event.type === 'restarting') this.#restart = `restart ${event.restart}/${event.of}`;
    const line = progressLine(event);
    if (line !== undefined) this.show(line);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#line?.end();
  }
}

function loadOptions(flags: Flags): Omit<LoadOptions, 'target'> {
  const path = flags.path ?? (flags.url === undefined ? '/' : `${flags.url.pathname}${flags.url.search}`);
  const plain: RequestTemplate = { method: flags.method, path };
  const requests: Record<ClientKind, RequestTemplate> = {
    'kept-alive': plain,
    pipelined: plain,
    'slow-body': { method: 'POST', path: flags.slowPath ?? path },
    'new-connection': plain,
  };
  const tls = flags.https === true || flags.insecure === true || flags.url?.protocol === 'https:';
  return {
    clients: {
      'kept-alive': flags.clients,
      pipelined: flags.pipelined,
      'slow-body': flags.slow,
      'new-connection': flags.new,
    },
    requests,
    thinkMs: flags.thinkMs,
    check: flags.echo === true ? 'echo' : 'plain',
    ...(tls ? { tls: { rejectUnauthorized: flags.insecure !== true } } : {}),
  };
}

function targetOf(url: URL): Target {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port };
}

function exitWithUsage(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : 2);
}

function count(value: string): number {
  if (!/^\d{1,5}$/.test(value)) throw new InvalidArgumentError('Expected a whole number from 0 to 99999.');
  return Number(value);
}

function milliseconds(value: string): number {
  if (!/^\d{1,7}$/.test(value)) throw new InvalidArgumentError('Expected a whole number of milliseconds.');
  return Number(value);
}

function requestPath(value: string): string {
  if (!/^\/[\x21-\x7e]*$/.test(value))
    throw new InvalidArgumentError('Expected a path that begins with "/".');
  return value;
}

function word(value: string): string {
  if (!/^[A-Za-z]+$/.test(value)) throw new InvalidArgumentError('Expected a method such as GET.');
  return value.toUpperCase();
}

function httpUrl(value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('Expected a URL that begins with http:// or https://.');
  }
  return url;
}
