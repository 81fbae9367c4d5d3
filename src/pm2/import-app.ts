/*
 * Over 200 lines: what becomes of each key of PM2 is one table.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { commandWords } from '../config/command-words.js';
import { optionRows } from '../config/options/run-options.js';
import type { ServiceConfig } from '../config/service-config.js';
import type { EcosystemApp } from './ecosystem.js';

/** What became of one key: taken over as it is, taken over with another meaning, or not. */
export interface ImportNote {
  readonly key: string;
  readonly kind: 'taken' | 'changed' | 'none';
  readonly says: string;
}

/** An app of PM2 as a service of moult. */
export interface ImportedApp {
  readonly name: string;
  readonly service: ServiceConfig;
  readonly notes: readonly ImportNote[];
}

type Written = Record<string, unknown>;

/** What is made of an app while its keys are gone through. */
interface Making {
  readonly app: EcosystemApp;
  readonly service: Written;
  note(kind: ImportNote['kind'], says: string): void;
}

type Rule = (value: unknown, making: Making) => void;

const LOGS =
  'the service writes to the output of moult run or moult up: journald, the container, or output: "FILE" keeps it';
const COMMAND = 'in command';

const none =
  (says: string): Rule =>
  (_, { note }) =>
    note('none', says);
const inCommand: Rule = (_, { note }) => note('taken', COMMAND);

/** Puts it under a key of moult, where this release has it. */
function as(key: string, write: (value: unknown) => unknown = (value) => value, changed?: string): Rule {
  return (value, { service, note }) => {
    const text = write(value);
    const row = optionRows.find(([known]) => known === key)?.[1];
    if (row === undefined) {
      note('none', `there is no ${key} in this release of moult`);
      return;
    }
    // One that PM2 takes otherwise, or that it does not take either, keeps no other from being taken over.
    try {
      if (typeof text === 'string') row.kind.read(text);
    } catch (error) {
      note('none', `${key}: ${(error as Error).message}`);
      return;
    }
    service[key] = text;
    const became = `${key}: ${JSON.stringify(text)}`;
    note(
      changed === undefined ? 'taken' : 'changed',
      changed === undefined ? became : `${became}; ${changed}`,
    );
  };
}

// PM2 takes milliseconds.
const milliseconds = (value: unknown) => (/^\d+$/.test(String(value)) ? `${String(value)}ms` : String(value));
const isOn = (value: unknown) => value === true || value === 'true';

const HOT = 'a hot restart: no connection is closed';
const recycling: Rule = (value, making) => {
  // In PM2 that turns it off.
  if (['', '0', 'false'].includes(String(value))) making.note('taken', 'off, which is the default');
  else as('recycle', String, HOT)(value, making);
};

const RULES: Readonly<Record<string, Rule>> = {
  name: (value, { note }) => note('taken', `the name of the service: ${nameOf(value)}`),
  script: inCommand,
  args: inCommand,
  interpreter: inCommand,
  interpreter_args: inCommand,
  node_args: inCommand,
  exec_interpreter: inCommand,
  cwd: (value, { service, note }) => {
    service.cwd = String(value);
    note('taken', `cwd: ${JSON.stringify(service.cwd)}`);
  },
  env: (value, { service, note }) => {
    service.env = { ...(value as object), ...(service.env as object | undefined) };
    note('taken', `env: ${Object.keys(value as object).join(', ')}`);
  },
  env_file: as('envFile'),
  instances: (value, { app, service, note }) => {
    const count = Number(value);
    if (value === 'max' || count === 0) service.slots = 'max';
    else if (count < 0) {
      service.slots = 'max';
      note('changed', 'slots: "max"; moult cannot leave cores out: write a number');
      return;
    } else if (count > 1 || app.exec_mode === 'cluster' || app.exec_mode === 'cluster_mode')
      service.slots = count;
    else {
      note('taken', 'one process, which is the default');
      return;
    }
    const isFork = app.exec_mode === undefined || app.exec_mode === 'fork' || app.exec_mode === 'fork_mode';
    if (isFork)
      note('changed', `slots: ${JSON.stringify(service.slots)}; they share their ports, as in cluster mode`);
    else note('taken', `slots: ${JSON.stringify(service.slots)}`);
  },
  exec_mode: (value, { app, service, note }) => {
    const isCluster = value === 'cluster' || value === 'cluster_mode';
    if (isCluster && app.instances === undefined) {
      service.slots = 1;
      note('taken', 'slots: 1');
    } else note('taken', isCluster ? 'slots share their ports' : 'the default');
  },
  instance_var: as('instanceVar'),
  autorestart: (value, { service, note }) => {
    service.restart = isOn(value) ? 'always' : 'never';
    note('taken', `restart: ${JSON.stringify(service.restart)}`);
  },
  stop_exit_codes: (value, { service, note }) => {
    const codes = [value].flat().map(Number);
    if (codes.length === 1 && codes[0] === 0) {
      service.restart = 'on-failure';
      note('taken', 'restart: "on-failure"');
    } else note('none', 'moult treats only 0 as success: restart: "on-failure"');
  },
  wait_ready: as('waitReady', isOn),
  listen_timeout: as('readyTimeout', milliseconds, 'after that, the old process keeps serving'),
  kill_timeout: as(
    'stopTimeout',
    milliseconds,
    'it starts when the requests are finished; drainTimeout limits those',
  ),
  shutdown_with_message: none('if a program handles no stop signal, moult sends it the message "shutdown"'),
  max_memory_restart: as('maxMemory', String, HOT),
  cron_restart: recycling,
  cron: recycling,
  max_restarts: none('moult keeps trying, at most 30 s apart, while clients wait'),
  min_uptime: none('moult spaces starts by itself; probation is how long it watches a new release'),
  restart_delay: none('moult spaces starts by itself'),
  exp_backoff_restart_delay: none('moult spaces starts by itself, longer each time'),
  watch: none('moult dev restarts on change; after a deploy, run moult restart'),
  ignore_watch: none('moult dev follows .gitignore and nodemon.json'),
  watch_options: none('moult dev follows .gitignore and nodemon.json'),
  watch_delay: none('moult dev waits until a save is complete'),
  out_file: none(LOGS),
  output: none(LOGS),
  error_file: none(LOGS),
  error: none(LOGS),
  err_file: none(LOGS),
  log_file: none(LOGS),
  log: none(LOGS),
  pid_file: none('moult status --json has the process numbers'),
  pid: none('moult status --json has the process numbers'),
  combine_logs: none(LOGS),
  merge_logs: none(LOGS),
  log_date_format: none('journald records the time of each line'),
  time: none('journald records the time of each line'),
  log_type: none(LOGS),
  disable_logs: none(LOGS),
  source_map_support: (value, { note }) =>
    isOn(value) ? note('taken', `${COMMAND}: --enable-source-maps`) : note('taken', 'the default of Node'),
  disable_source_map_support: (_, { note }) => note('taken', 'the default of Node'),
  increment_var: none('slots share their port; each finds its number in MOULT_SLOT'),
  port: (value, { service, note }) => {
    service.env = { ...(service.env as object | undefined), PORT: String(value) };
    note('taken', `env: PORT=${String(value)}`);
  },
  namespace: none('moult up NAME names services'),
  uid: none('moult runs as the user who starts it: moult systemd --user'),
  gid: none('moult runs as the user who starts it: moult systemd --user'),
  user: none('moult runs as the user who starts it: moult systemd --user'),
  filter_env: none('the service has the environment of moult run'),
  treekill: (_, { note }) => note('taken', 'all processes of a service end with it'),
  force: none('each name runs once'),
  vizion: none('moult history shows which release ran'),
  automation: none('it has no counterpart, and needs none'),
  pmx: none('moult run --metrics serves metrics'),
  trace: none('OTEL_EXPORTER_OTLP_ENDPOINT traces restarts'),
  append_env_to_name: none('write the name as you want it'),
};

/**
 * Makes a service of an app.
 * @param environment which `env_…` is taken over, too; undefined for none.
 * @param place of the app in its file, for one that has no name.
 * @param folder in which the file is.
 */
export function importApp(
  app: EcosystemApp,
  environment: string | undefined,
  place: number,
  folder: string,
): ImportedApp {
  const notes: ImportNote[] = [];
  const command = commandOf(app, resolve(folder, String(app.cwd ?? '')));
  // As PM2 does where nothing is said.
  const service: Written = {
    ...(command === undefined ? {} : { command }),
    restart: 'always',
    stopSignal: 'SIGINT',
    instanceVar: 'NODE_APP_INSTANCE',
  };
  for (const [key, value] of Object.entries(app)) {
    const note = (kind: ImportNote['kind'], says: string) => notes.push({ key, kind, says });
    const making: Making = { app, service, note };
    if (value === undefined || value === null) continue;
    const rule = RULES[key];
    if (rule !== undefined) rule(value, making);
    else if (key.startsWith('env_')) environmentOf(key, value, environment, making);
    else note('none', 'moult does not know this key');
  }
  if (app.script === undefined)
    notes.push({ key: 'script', kind: 'none', says: 'it is missing: write a command' });
  return { name: nameOf(app.name ?? `app-${place + 1}`), service: service as ServiceConfig, notes };
}

function environmentOf(key: string, value: unknown, environment: string | undefined, making: Making): void {
  const name = key.slice('env_'.length);
  if (name !== environment) {
    making.note('none', `moult import --env ${name} takes it over`);
    return;
  }
  making.service.env = { ...(making.service.env as object | undefined), ...(value as object) };
  making.note('taken', `env: ${Object.keys(value as object).join(', ')}`);
}

/** The words of its command. PM2 runs a script by the interpreter that its ending names, and Node for most. */
function commandOf(app: EcosystemApp, folder: string): string[] | undefined {
  const { script, args } = app;
  if (script === undefined) return undefined;
  const given = wordsOf(args);
  const flags = [...wordsOf(app.node_args), ...wordsOf(app.interpreter_args)];
  if (isOn(app.source_map_support)) flags.push('--enable-source-maps');
  const interpreter = String(
    app.interpreter ?? app.exec_interpreter ?? interpreterFor(String(script), folder),
  );
  // A script such as "npm run start" is a whole command there, too.
  const words = /\s/.test(String(script))
    ? (commandWords(String(script)) ?? [String(script)])
    : [String(script)];
  if (interpreter === 'none') return [...words, ...given];
  // moult takes a file with another ending for a program.
  if (interpreter === 'node' && flags.length === 0 && /\.[cm]?[jt]s$/.test(words[0] ?? ''))
    return [...words, ...given];
  return [interpreter, ...flags, ...words, ...given];
}

function interpreterFor(script: string, folder: string): string {
  const byEnding: Readonly<Record<string, string>> = {
    sh: 'bash',
    py: 'python3',
    rb: 'ruby',
    pl: 'perl',
    php: 'php',
  };
  const ending = /\.(\w+)$/.exec(script)?.[1] ?? '';
  const known = byEnding[ending];
  if (known !== undefined) return known;
  if (/\s/.test(script)) return 'none';
  // A program by its name, such as npm, is started as it is; a file such as bin/www is JavaScript.
  return ending === '' && !isJavaScript(resolve(folder, script)) ? 'none' : 'node';
}

/** Whether a file without an ending is no program of its own: neither a binary, nor for another interpreter. */
function isJavaScript(path: string): boolean {
  try {
    const [line = ''] = readFileSync(path, 'latin1').split('\n', 1);
    return line.startsWith('#!') ? /\bnode\b/.test(line) : !line.includes('\0');
  } catch {
    return false;
  }
}

function wordsOf(value: unknown): string[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value.map(String) : (commandWords(String(value)) ?? [String(value)]);
}

function nameOf(value: unknown): string {
  const name = String(value)
    .replace(/^@/, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  return name.slice(0, 64) || 'service';
}
