import { execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Milliseconds that a program of the benchmark may take to begin, or to end when it is asked to. */
const PATIENCE_MS = 20_000;
/** Milliseconds for one answer of a helper: a round of load, or a request on 10,000 connections. */
const ANSWER_MS = 60_000;

/** What would be left behind if the benchmark were ended. @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
/** @type {Set<string>} */
const folders = new Set();
/** @type {Set<() => void>} */
const endings = new Set();
process.once('exit', () => {
  for (const child of running) child.kill('SIGTERM');
  for (const end of endings) {
    try {
      end();
    } catch {
      // It has ended by itself.
    }
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(name, () => process.exit(1));

/** Ends a process that still runs when the benchmark ends, however it ends. @param {import('node:child_process').ChildProcess} child */
export function endWithUs(child) {
  running.add(child);
  child.once('exit', () => running.delete(child));
}

/**
 * Does something when the benchmark ends, however it ends, for what is no child of it; until it is told to forget.
 * @param {() => void} end
 * @returns {() => void} forgets it
 */
export function atExit(end) {
  endings.add(end);
  return () => endings.delete(end);
}

/** A private folder that is gone when the benchmark ends, however it ends. @param {string} prefix */
export function temporaryFolder(prefix) {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  folders.add(folder);
  return folder;
}

/** @param {string} name of a file in bench/programs */
export const program = (name) => fileURLToPath(new URL(`../programs/${name}`, import.meta.url));

/**
 * CPU time of all threads of a process, in milliseconds. The scheduler's own count is in nanoseconds;
 * utime + stime, where the kernel has no such count, in ticks of 10 ms.
 * Source: Linux Documentation/scheduler/sched-stats.rst; proc_pid_stat(5), fields 14 and 15.
 * @param {number} pid
 */
export function cpuMs(pid) {
  try {
    let sum = 0;
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
    return sum / 1e6;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }
}

/** Resident memory of a process in bytes. @param {number} pid */
export function memoryBytes(pid) {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1] ?? Number.NaN) * 1024;
}

/** How many descriptors a process may have open; Node raises its soft limit to the hard one when it starts. */
export function descriptorLimit() {
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return found?.[1] === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found?.[1] ?? 1024);
}

/**
 * A program of the benchmark that answers one question at a time over Node's IPC channel.
 * @param {string} name of a file in bench/programs
 */
export function startHelper(name) {
  const child = fork(program(name), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const gone = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`${name} ended (${signal ?? `code ${code}`}) before it answered`);
  });
  gone.catch(() => {});
  return {
    /** @param {object} question @returns {Promise<any>} */
    async ask(question) {
      const answer = once(child, 'message');
      child.send(question);
      let timer;
      const late = new Promise((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`${name} did not answer`)), ANSWER_MS);
      });
      const [value] = await Promise.race([answer, gone, late]).finally(() => clearTimeout(timer));
      if (value.error !== undefined) throw new Error(`${name}: ${value.error}`);
      return value;
    },
    stop: () => stopChild(child, 'SIGKILL'),
  };
}

/** @param {import('node:child_process').ChildProcess} child @param {NodeJS.Signals} signal */
export async function stopChild(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  await exited;
  clearTimeout(late);
}

/**
 * Starts Node and waits for the line `listening PORT PID` of bench/programs/service.mjs.
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} env
 * @param {readonly string[]} [wrapper] a command that starts it.
 */
export async function startListening(args, env, wrapper = []) {
  const [command = process.execPath, ...before] = [...wrapper, process.execPath];
  const child = spawn(command, [...before, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let output = '';
  /** @type {Promise<{ port: number, pid: number }>} */
  const listening = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`nothing listens:\n${output}`)), PATIENCE_MS);
    const take = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk).slice(-8000);
      const found = /listening (\d+) (\d+)/.exec(output);
      if (found === null) return;
      clearTimeout(late);
      resolve({ port: Number(found[1]), pid: Number(found[2]) });
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('exit', (code, signal) => {
      clearTimeout(late);
      reject(new Error(`it ended (${signal ?? code}):\n${output}`));
    });
  });
  try {
    return { child, output: () => output, ...(await listening) };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/**
 * Runs Node to its end.
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} env
 * @returns {Promise<{ code: number, stdout: string, stderr: string }>}
 */
export function runNode(args, env) {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      args,
      { env: { ...process.env, ...env }, timeout: 300_000 },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
      },
    );
  });
}
