/*
 * What users' programs may and may not say. Checked by the compiler, never run.
 */
import { createServer as createHttp } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:net';
import {
  type EndReport,
  type ErrorCode,
  errorTable,
  type MOULT_VERSION,
  MoultError,
  openService,
  type RestartSummary,
  type Service,
  type ServiceEvents,
  type ServiceMode,
  type ServiceOptions,
  type Serving,
  type StageEvent,
} from 'moult';
import { defineConfig } from 'moult/config';
import { type StandIn, standIn } from 'moult/testing';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<_A, _B>(_is: Same<_A, _B>): void {}

// Opening.
const service = openService();
same<typeof service, Service>(true);
openService({ restartOn: 'SIGUSR2', stopOn: ['SIGTERM', 'SIGINT'], pidFile: '/run/app.pid' });
openService({ command: { command: 'node', args: ['server.js'], cwd: '/srv' }, standalone: false });
const options: ServiceOptions = { readyTimeoutMs: 1, drainTimeoutMs: 1, probationMs: 1, busyTimeoutMs: 1 };
openService({ ...options, stopTimeoutMs: 1 });
// @ts-expect-error an option that there is not
openService({ pidfile: '/run/app.pid' });
// @ts-expect-error no signal
openService({ restartOn: 'HUP' });
// @ts-expect-error times are numbers of milliseconds
openService({ readyTimeoutMs: '30s' });
// @ts-expect-error a command is a program and its arguments
openService({ command: 'node server.js' });
// @ts-expect-error options are not changed afterwards
options.pidFile = '/tmp/pid';

// What it is.
same<typeof service.mode, ServiceMode>(true);
same<ServiceMode, 'supervised' | 'standalone' | 'plain'>(true);
same<typeof service.reason, string | undefined>(true);
same<typeof service.generation, number>(true);
same<typeof service.isServing, boolean>(true);
same<typeof service.signal, AbortSignal>(true);
// @ts-expect-error the mode is found, not set
service.mode = 'plain';
// @ts-expect-error generations are counted by moult
service.generation = 2;

// Listening.
same<ReturnType<typeof service.listen>, Promise<void>>(true);
service.listen(createServer(), 3000);
service.listen(createHttp(), 3000, '127.0.0.1', 511);
service.listen(createSecureServer({}), { port: 3000, host: '::' });
service.listen(createServer(), '/run/app.sock');
// @ts-expect-error a server must be made first
service.listen(3000);
// @ts-expect-error a port is a number, a path comes without a host
service.listen(createServer(), '3000', '127.0.0.1');
// @ts-expect-error no such option
service.listen(createServer(), { prot: 3000 });

// Files.
same<ReturnType<typeof service.file>, number>(true);
service.file('log', () => 3);
// @ts-expect-error a descriptor is a number, and opened at once
service.file('log', async () => 3);

// Ready, restart, work.
same<ReturnType<typeof service.ready>, Promise<void>>(true);
same<ReturnType<typeof service.restart>, Promise<RestartSummary>>(true);
same<Awaited<ReturnType<typeof service.restart>>['generation'], number>(true);
service.check(async () => {}).beforeEnd(() => {});
const text = service.critical(() => 'done');
same<typeof text, Promise<string>>(true);
const later = service.critical(async () => 3);
same<typeof later, Promise<number>>(true);
// @ts-expect-error work is a function
service.critical(Promise.resolve());
// @ts-expect-error a check is a function
service.check(true);
same<ReturnType<typeof service.stop>, void>(true);

// Events.
service.on('serve', (how) => same<typeof how, { readonly resumed: boolean }>(true));
service.on('yield', (to) => same<typeof to, { readonly successor: number }>(true));
service.on('failed', (error) => same<typeof error, MoultError>(true));
service.on('aborted', (error) => same<typeof error, MoultError>(true));
service.on('end', (report) => same<typeof report, EndReport>(true));
service.on('stage', (event) => same<typeof event, StageEvent>(true));
service.on('stopping', (delay) => same<typeof delay, { readonly delayMs: number }>(true));
service.on('drain', (...none) => same<typeof none, []>(true));
same<keyof ServiceEvents, 'serve' | 'yield' | 'failed' | 'stopping' | 'drain' | 'end' | 'aborted' | 'stage'>(
  true,
);
// @ts-expect-error the event has no such fact
service.on('serve', ({ generation }) => generation);

// Errors.
const error = new MoultError('MOULT_READY_TIMEOUT', 'late', { serving: 'predecessor' });
same<typeof error.code, ErrorCode>(true);
same<typeof error.serving, Serving>(true);
if (error.code === 'MOULT_READY_TIMEOUT') errorTable[error.code].remedy.toUpperCase();
// @ts-expect-error a code that the table has not
new MoultError('MOULT_TOO_LATE', 'late');
// @ts-expect-error nor can it be met
if (error.code === 'MOULT_TOO_LATE') error.report();
same<typeof MOULT_VERSION, string>(true);

// The stand-in goes wherever the service goes.
function program(given: Service): Service {
  return given;
}
const instead = standIn({ generation: 2, mode: 'standalone' });
same<typeof instead, StandIn>(true);
program(instead);
instead.serve().then(() => instead.yield());
instead.fail(new MoultError('MOULT_CHECK_FAILED', 'no database'));
instead.end({ moved: 1, drained: 0, cut: [] });
// @ts-expect-error an error of moult's
instead.fail(new Error('no database'));
// @ts-expect-error the program cannot drive it
program(instead).yield();

// A config file.
defineConfig({ command: 'server.js', probation: '20s', slots: 'max', envFile: '.env', allowUid: [1000] });
defineConfig(async () => ({
  services: { api: { command: ['api.js'], after: 'db', restart: 'never' }, db: {} },
}));
// @ts-expect-error an option that there is not
defineConfig({ probaton: '20s' });
// @ts-expect-error none of the words
defineConfig({ restart: 'sometimes' });
// @ts-expect-error a switch is on or off
defineConfig({ services: { api: { waitReady: 'yes' } } });
