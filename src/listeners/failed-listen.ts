import { type EventEmitter, errorMonitor } from 'node:events';
import { writeSync } from 'node:fs';
import type { ListenRequest } from '../node/listening/listen-hook.js';
import { visibleLine } from '../terminal/visible.js';

/** A service that takes another port instead has done so by then. */
const TELL_AFTER_MS = 1000;

/** Why a bind fails, as a person says it. */
const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the address is in use by another process',
  EACCES: 'this user may not open it',
  EADDRNOTAVAIL: 'this machine has no such address',
};

/**
 * Tells of `listen()` calls that failed, where the service ends up with no listener at all: some frameworks hand the error to
 * a callback that nobody looks into. Source: Express 5, `app.listen` gives it to its callback.
 */
export class FailedListens {
  readonly #listens: () => boolean;
  #failure: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param listens whether the service has a listener now, or had one. */
  constructor(listens: () => boolean) {
    this.#listens = listens;
  }

  /** Looks how this call goes. */
  watch(request: ListenRequest): void {
    const server: EventEmitter = request.server;
    // A monitor does not count as a handler: an error that nobody handles still ends the process.
    const failed = (error: NodeJS.ErrnoException) => {
      done();
      if (error.syscall === 'listen' || error.syscall === 'bind') this.#note(request, error);
    };
    const done = () => forget(server, failed, done);
    server.on(errorMonitor, failed).on('listening', done);
  }

  #note(request: ListenRequest, { code = 'an error' }: NodeJS.ErrnoException): void {
    const reason = REASONS[code];
    this.#failure = `moult: listen() on ${placeOf(request)} failed with ${code}${reason ? `: ${reason}` : ''}\n`;
    if (this.#timer !== undefined) return;
    process.once('exit', () => this.#tell());
    this.#timer = setTimeout(() => this.#tell(), TELL_AFTER_MS).unref();
  }

  #tell(): void {
    if (this.#failure === undefined || this.#listens()) return;
    try {
      // The process may be ending: what is written later is not written.
      writeSync(2, this.#failure);
    } catch {
      // Nobody reads it.
    }
    this.#failure = undefined;
  }
}

function forget(server: EventEmitter, failed: (error: Error) => void, done: () => void): void {
  server.off(errorMonitor, failed).off('listening', done);
}

function placeOf({ address, port }: ListenRequest): string {
  if (port < 0) return visibleLine(address ?? 'a descriptor');
  return address === null ? `port ${port}` : `${address.includes(':') ? `[${address}]` : address}:${port}`;
}
