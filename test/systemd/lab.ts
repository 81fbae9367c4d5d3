import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root, until } from '../integration/supervised.js';

/** Units that every service of systemd's own default depends on; here they do nothing. */
const EMPTY_TARGETS = ['lab', 'sysinit', 'basic', 'sockets', 'shutdown', 'multi-user'];
const TOOLS = ['unshare', 'nsenter', 'systemctl', 'mount', 'umount', 'pivot_root', 'hostname'];
const SYSTEMD = '/lib/systemd/systemd';

/** What a command of the lab gave. */
export interface Ran {
  readonly code: number | null;
  /** Both outputs, as they came. */
  readonly output: string;
}

/** A system with a real systemd as its process 1, in namespaces of its own. The network is this machine's. */
export class Lab {
  /** The folder in which units lie. */
  readonly units: string;
  /** A folder that both sides see at this path. */
  readonly shared: string;
  readonly #folder: string;
  readonly #group: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #console = '';
  #init = 0;

  private constructor(usr: string | undefined) {
    this.#folder = mkdtempSync(path.join(tmpdir(), 'moult-lab-'));
    const inside = (name: string) => {
      const folder = path.join(this.#folder, name);
      mkdirSync(folder);
      return folder;
    };
    this.units = inside('units');
    this.shared = inside('shared');
    const rootFolder = inside('root');
    for (const name of EMPTY_TARGETS) this.unit(`${name}.target`, '[Unit]\nDefaultDependencies=no\n');
    this.#group = path.join(String(unifiedHierarchy()), path.basename(this.#folder));
    mkdirSync(this.#group);
    const folders = [...new Set([root.replace(/\/$/, ''), this.shared, ...nodeFolders()])];
    this.#process = spawn(
      path.join(root, 'test/systemd/start.sh'),
      [this.#group, rootFolder, this.units, ...folders],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, ...(usr === undefined ? {} : { MOULT_LAB_USR: usr }) },
      },
    );
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#console = (this.#console + text).slice(-50_000);
      });
    }
    this.#ended = new Promise((resolve) => this.#process.once('close', () => resolve()));
  }

  /** Boots it and waits until it is up. @param usr a folder that is laid over /usr. */
  static async boot(usr?: string): Promise<Lab> {
    const lab = new Lab(usr);
    try {
      await until('systemd is up', async () => {
        assert.equal(lab.#process.exitCode, null, `the lab did not boot:\n${lab.#console}`);
        lab.#init = Number(/^init (\d+)/m.exec(lab.#console)?.[1] ?? 0);
        return lab.#init > 0 && (await lab.run('systemctl', 'is-system-running')).output.trim() === 'running';
      });
      return lab;
    } catch (error) {
      await lab.halt();
      if (error instanceof Error) error.message += `\n${lab.#console}`;
      throw error;
    }
  }

  /** What systemd and the services wrote to the console. */
  get console(): string {
    return this.#console;
  }

  /** Writes a unit file. */
  unit(name: string, text: string): void {
    writeFileSync(path.join(this.units, name), text);
  }

  /** Runs a command in the lab to its end. */
  run(command: string, ...args: string[]): Promise<Ran> {
    const into = ['--target', String(this.#init), '--mount', '--pid', '--ipc', '--uts', '--cgroup'];
    const env = { PATH: process.env.PATH, SYSTEMD_PAGER: '', SYSTEMD_COLORS: '0', LC_ALL: 'C' };
    return new Promise((resolve, reject) => {
      const child = spawn('nsenter', [...into, '--', command, ...args], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output += text;
        });
      }
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, output }));
    });
  }

  /** `systemctl` with these words; fails unless it succeeds. */
  async systemctl(...words: string[]): Promise<string> {
    const { code, output } = await this.run('systemctl', ...words);
    assert.equal(code, 0, `systemctl ${words.join(' ')}: ${output}\n${this.#console}`);
    return output;
  }

  /** One property of a unit. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.systemctl('show', '--value', '--property', name, unit)).trim();
  }

  /** Ends it with everything in it, at once. */
  async halt(): Promise<void> {
    this.#process.stdin?.end();
    await this.#ended;
    await until('the control group of the lab is empty', () => removeGroup(this.#group));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Why no lab can be booted here; false when it can. */
export function whyNoLab(): string | false {
  if (process.getuid?.() !== 0) return 'a lab of systemd needs root';
  if (unifiedHierarchy() === undefined) return 'a lab of systemd needs a writable cgroup2 hierarchy';
  installSystemd();
  const missing = TOOLS.find((tool) => !inPath(tool));
  if (missing !== undefined) return `a lab of systemd needs the command ${missing}`;
  if (!existsSync(SYSTEMD)) return `a lab of systemd needs ${SYSTEMD}`;
  try {
    execFileSync('unshare', ['--mount', '--pid', '--ipc', '--uts', '--cgroup', '--fork', 'true'], {
      stdio: 'pipe',
    });
  } catch (error) {
    return `a lab of systemd needs namespaces of its own: ${String((error as { stderr?: Buffer }).stderr ?? error)}`;
  }
  return false;
}

/** The version of the systemd of the lab, such as 252. */
export function systemdVersion(): number {
  const text = execFileSync(SYSTEMD, ['--version'], { encoding: 'utf8' });
  return Number(/^systemd (\d+)/.exec(text)?.[1]);
}

// On a Debian machine without it, such as a fresh container; never started there.
function installSystemd(): void {
  if (existsSync(SYSTEMD) || !inPath('apt-get')) return;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...words: string[]) => execFileSync('apt-get', words, { env, stdio: 'pipe' });
  try {
    apt('update', '-qq');
    apt('install', '-qq', '-y', '--no-install-recommends', 'systemd');
  } catch {
    // The next look says what is missing.
  }
}

function inPath(tool: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => existsSync(path.join(folder, tool)));
}

function unifiedHierarchy(): string | undefined {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
  const found = mounts
    .map((line) => line.split(' '))
    .find(([, , type, options]) => type === 'cgroup2' && options?.startsWith('rw'));
  return found?.[1];
}

// Where Node is elsewhere than under /usr.
function nodeFolders(): string[] {
  const folder = path.dirname(path.dirname(process.execPath));
  return folder.startsWith('/usr') ? [] : [folder];
}

function removeGroup(group: string): boolean {
  try {
    for (const entry of readdirSync(group, { withFileTypes: true }))
      if (entry.isDirectory() && !removeGroup(path.join(group, entry.name))) return false;
    rmdirSync(group);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}
