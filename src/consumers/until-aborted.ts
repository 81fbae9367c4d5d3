/** Settles when the promise does, whatever becomes of it, or when the signal aborts. */
export function untilAborted(signal: AbortSignal, promise: PromiseLike<unknown>): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const over = () => {
      signal.removeEventListener('abort', over);
      resolve();
    };
    signal.addEventListener('abort', over);
    promise.then(over, over);
  });
}

/** Waits so many milliseconds, or less when the signal aborts. */
export function pauseUntilAborted(forMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, forMs);
    signal.addEventListener('abort', over);
  });
}
