// A message service as a program of its own: started on a port and a folder that it keeps, ended by its pid.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Starts, ends and starts again one program that listens on one port. */
export class Program {
  #command;
  #args;
  #port;
  #log;
  #child;

  constructor(command, args, port, folder) {
    this.#command = command;
    this.#args = args;
    this.#port = port;
    this.#log = join(folder, 'output.log');
  }

  /** What it says, as a file. */
  get log() {
    return this.#log;
  }

  get pid() {
    return this.#child?.pid;
  }

  async start() {
    const output = openSync(this.#log, 'a');
    const child = spawn(this.#command, this.#args, { stdio: ['ignore', output, output] });
    closeSync(output);
    this.#child = child;
    await once(child, 'spawn');
    for (const giveUpAtMs = performance.now() + 120_000; ; await delay(5)) {
      if (child.exitCode !== null || performance.now() > giveUpAtMs) {
        child.kill('SIGKILL');
        throw new Error(`${this.#command} does not answer at port ${this.#port}; see ${this.#log}`);
      }
      if (await answers(this.#port)) return;
    }
  }

  async stop(signal = 'SIGTERM') {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  const is = await new Promise((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  return is;
}
