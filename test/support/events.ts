import type { EventEmitter } from 'node:events';

// Kept, so that a test may stop the clock of what it tests.
const { setTimeout, clearTimeout } = globalThis;

/** The arguments of the next event of this name; fails when it does not come in time. */
export function eventOf<T extends unknown[] = unknown[]>(
  emitter: EventEmitter,
  name: string,
  withinMs = 10_000,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no event ${name} within ${withinMs} ms`)), withinMs);
    emitter.once(name, (...args: unknown[]) => {
      clearTimeout(timer);
      resolve(args as T);
    });
  });
}

/** Settles as the promise does, or fails when it does not settle in time. */
export function soon<T>(promise: Promise<T>, what: string, withinMs = 10_000): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not within ${withinMs} ms`)), withinMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Asks again and again until the answer is yes, less often the longer that takes. For what no event tells. */
export async function until(is: () => boolean, what: string, withinMs = 10_000): Promise<void> {
  const beganMs = performance.now();
  while (!is()) {
    const waitedMs = performance.now() - beganMs;
    if (waitedMs > withinMs) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(20, 1 + waitedMs / 50)));
  }
}

/**
 * As {@link until}, for many things of which one comes after the other: fails when none has come for so long, however
 * long all of them take on a busy machine.
 */
export async function untilMany(
  count: () => number,
  wanted: number,
  what: string,
  withoutAnyMs = 20_000,
): Promise<void> {
  while (count() < wanted) {
    const before = count();
    await until(() => count() !== before, `${what}: ${before} of ${wanted}, and one more`, withoutAnyMs);
  }
}

/** The turns of the event loop in which libuv takes what the kernel has for us. */
export async function turns(count = 3): Promise<void> {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
