import { dirname } from 'node:path';
import { MOULT_VERSION } from '../version.js';

/** What a unit is made of. Paths are absolute; times in milliseconds. */
export interface UnitChoices {
  readonly name: string;
  readonly type: 'notify' | 'notify-reload';
  /** Undefined for root. */
  readonly user: string | undefined;
  readonly cwd: string;
  readonly node: string;
  /** The script of the command line. */
  readonly moult: string;
  /** Options for `moult run`, without the name. */
  readonly options: readonly string[];
  /** Empty where a config file among the options has it. */
  readonly command: readonly string[];
  /** The services after which it starts. */
  readonly after?: readonly string[];
  readonly stopDelayMs: number;
  readonly drainTimeoutMs: number;
  readonly stopTimeoutMs: number;
  /** As ListenStream= takes them. */
  readonly sockets: readonly string[];
}

/** Beyond the time-outs of moult, so that it is moult that ends what does not end. */
const STOP_MARGIN_S = 15;
/** Where systemd looks for programs by itself. Source: systemd.exec(5), $PATH. */
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin'];
/** Folders that ProtectHome= hides. Source: systemd.exec(5). */
const HOMES = ['/home/', '/root/', '/run/user/'];
/** Folders that PrivateTmp= replaces. Source: systemd.exec(5). */
const TEMPORARY = ['/tmp/', '/var/tmp/'];

/** The service unit, with a comment for each line that has a reason. */
export function serviceUnit(choices: UnitChoices): string {
  return `${[
    `# Runs ${choices.name} under moult ${MOULT_VERSION}; made by \`moult systemd\`.`,
    `# Deploy: switch the release, then: systemctl reload ${choices.name}`,
    '',
    '[Unit]',
    `Description=${percent(choices.name)}, under moult`,
    `After=${['network-online.target', ...(choices.after ?? []).map((one) => `${one}.service`)].join(' ')}`,
    'Wants=network-online.target',
    ...socketLines(choices),
    '',
    '[Service]',
    ...startLines(choices),
    '',
    ...restartLines(),
    '',
    ...endLines(choices),
    '',
    ...folderLines(choices),
    '',
    ...hardeningLines(choices),
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    ...(choices.sockets.length > 0 ? [`Also=${choices.name}.socket`] : []),
  ].join('\n')}\n`;
}

/** The socket unit: systemd opens the addresses, the service claims them when it listens on the same. */
export function socketUnit({ name, sockets }: UnitChoices): string {
  return `${[
    `# The sockets of ${name}.service; made by \`moult systemd\`. They are open before the service starts and stay`,
    '# open when it stops: clients wait. The service must listen on the same address and port, or path.',
    '',
    '[Unit]',
    `Description=Sockets of ${percent(name)}`,
    '',
    '[Socket]',
    ...sockets.map((socket) => `ListenStream=${percent(socket)}`),
    '',
    '[Install]',
    'WantedBy=sockets.target',
  ].join('\n')}\n`;
}

function socketLines({ name, sockets }: UnitChoices): string[] {
  return sockets.length > 0 ? [`Requires=${name}.socket`, `After=${name}.socket`] : [];
}

function startLines(choices: UnitChoices): string[] {
  const { name, type, user, cwd, node, moult, options, command } = choices;
  const run = [node, '--', moult, 'run', '--name', name, ...options, '--', ...command];
  const reload =
    type === 'notify-reload'
      ? [
          '# The start is complete when the first generation serves, a reload when its successor does. A failed',
          '# reload leaves the predecessor serving: `systemctl status` has the reason. For a reload that also',
          '# fails `systemctl reload`, use Type=notify with ExecReload=… moult restart, as `--type notify` prints.',
          'Type=notify-reload',
        ]
      : [
          '# The start is complete when the first generation serves. A failed reload fails `systemctl reload` and',
          '# leaves the predecessor serving: `systemctl status` has the reason.',
          'Type=notify',
          `ExecReload=${words([node, '--', moult, 'restart', name])}`,
        ];
  return [
    ...reload,
    '# Only the supervisor speaks to systemd. Its process number never changes.',
    'NotifyAccess=main',
    `ExecStart=${words(run)}`,
    ...(user === undefined ? [] : [`User=${percent(user)}`]),
    `WorkingDirectory=${percent(cwd)}`,
    '# The name of the folder as it is written here: links in it are followed anew at each reload.',
    `Environment=${quoted(percent(`PWD=${cwd}`))}`,
    ...pathLines(choices),
  ];
}

function pathLines({ node }: UnitChoices): string[] {
  const folder = dirname(node);
  if (SYSTEM_PATH.includes(folder)) return [];
  return [
    '# Where node is, for what looks it up.',
    `Environment=${quoted(percent(`PATH=${[folder, ...SYSTEM_PATH].join(':')}`))}`,
  ];
}

function restartLines(): string[] {
  return [
    '# systemd keeps copies of the listeners over `systemctl restart` and over a crash of everything: clients',
    '# wait and are not refused. `systemctl stop` closes them.',
    'FileDescriptorStoreMax=64',
    'Restart=on-failure',
    'RestartSec=100ms',
    '# A generation that is killed for memory is started again by the supervisor; the others go on.',
    'OOMPolicy=continue',
    '# Kept alive only while the supervisor and the generation that serves answer.',
    'WatchdogSec=30s',
  ];
}

function endLines({ stopDelayMs, drainTimeoutMs, stopTimeoutMs }: UnitChoices): string[] {
  const seconds = Math.ceil((stopDelayMs + drainTimeoutMs + stopTimeoutMs) / 1000) + STOP_MARGIN_S;
  return [
    '# SIGTERM goes to the supervisor only, which drains and ends the generations; what is left after it is killed.',
    '# With KillMode=process the generations would outlive a crash of the supervisor and be adopted by the next',
    '# one; then leave out WatchdogSec=, for a generation that hangs would outlive the watchdog too.',
    'KillMode=mixed',
    '# --stop-delay, --drain-timeout and --stop-timeout, and some time to spare.',
    `TimeoutStopSec=${seconds}s`,
  ];
}

function folderLines({ name }: UnitChoices): string[] {
  return [
    `# The sockets and the journal of moult. For its commands: XDG_RUNTIME_DIR=/run/moult-${name} moult status`,
    `RuntimeDirectory=moult-${name}`,
    'RuntimeDirectoryMode=0700',
    '# After a crash the generations are counted on.',
    'RuntimeDirectoryPreserve=restart',
    `Environment=XDG_RUNTIME_DIR=%t/moult-${name}`,
  ];
}

function hardeningLines({ cwd, node, moult, command }: UnitChoices): string[] {
  const isIn = (folders: readonly string[]) =>
    [cwd, node, moult, ...command].some((path) => folders.some((folder) => `${path}/`.startsWith(folder)));
  return [
    '# What a service on Node can do without. Take out what yours needs. MemoryDenyWriteExecute= must stay off:',
    '# V8 writes the code that it runs.',
    'NoNewPrivileges=yes',
    ...(isIn(TEMPORARY) ? ['# It lives in a temporary folder, so not PrivateTmp=yes.'] : ['PrivateTmp=yes']),
    'ProtectSystem=full',
    ...(isIn(HOMES) ? ['# It lives in a home folder, so not ProtectHome=yes.'] : ['ProtectHome=yes']),
    'ProtectControlGroups=yes',
    'ProtectKernelModules=yes',
    'ProtectKernelTunables=yes',
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'LockPersonality=yes',
    'SystemCallArchitectures=native',
    'SystemCallFilter=@system-service',
    'SystemCallErrorNumber=EPERM',
  ];
}

/** Words of a command line as systemd reads them. Source: systemd.service(5), "Command lines"; systemd.syntax(7), "Quoting". */
function words(list: readonly string[]): string {
  return list.map((word) => quoted(percent(word).replaceAll('$', '$$$$'))).join(' ');
}

function quoted(text: string): string {
  if (/^[\w@%+=:,./$-]+$/.test(text)) return text;
  return `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t')}"`;
}

function percent(text: string): string {
  return text.replaceAll('%', '%%');
}
