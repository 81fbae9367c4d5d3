import fs from 'node:fs';

type Heard = (stream: 'stdout' | 'stderr', chunk: Uint8Array | string) => void;
type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

const STREAMS = new Map<unknown, 'stdout' | 'stderr'>([
  [1, 'stdout'],
  [2, 'stderr'],
]);

/**
 * Tells of what this process writes to its standard output and error from now on: through the streams, and by `fs.write` and
 * `fs.writeSync` as loggers do. Not of what is imported by name from an ES module, of native code, nor of other processes.
 * @param heard is called before it is written; what it throws is dropped.
 */
export function hearWrites(heard: Heard): void {
  const tell: Heard = (stream, chunk) => {
    try {
      heard(stream, chunk);
    } catch {
      // Nothing that the service does may fail for it.
    }
  };
  for (const [name, stream] of [['stdout', process.stdout] as const, ['stderr', process.stderr] as const]) {
    wrap(stream, 'write', ([chunk, encoding]) => {
      if (typeof chunk === 'string' && isOther(encoding))
        tell(name, Buffer.from(chunk, encoding as BufferEncoding));
      else if (isText(chunk)) tell(name, chunk);
    });
  }
  for (const method of ['write', 'writeSync'] as const) {
    wrap(fs, method, ([fd, data, offset, length]) => {
      const name = STREAMS.get(fd);
      if (name === undefined || !isText(data)) return;
      if (typeof data === 'string') tell(name, data);
      else {
        const from = typeof offset === 'number' ? offset : 0;
        tell(name, data.subarray(from, typeof length === 'number' ? from + length : undefined));
      }
    });
  }
}

function isText(chunk: unknown): chunk is Uint8Array | string {
  return typeof chunk === 'string' || chunk instanceof Uint8Array;
}

function isOther(encoding: unknown): boolean {
  return typeof encoding === 'string' && !/^utf-?8$/i.test(encoding) && Buffer.isEncoding(encoding);
}

function wrap(owner: object, method: string, before: (args: unknown[]) => void): void {
  const methods = owner as Record<string, AnyFunction | undefined>;
  const original = methods[method];
  if (typeof original !== 'function') return;
  const wrapper: AnyFunction = function (...args) {
    before(args);
    return original.apply(this, args);
  };
  // Some have more to them, such as what util.promisify() takes.
  const own = Object.getOwnPropertyDescriptors(original);
  for (const key of Reflect.ownKeys(own)) {
    const descriptor = own[key as keyof typeof own];
    if (key !== 'prototype' && descriptor !== undefined) Object.defineProperty(wrapper, key, descriptor);
  }
  methods[method] = wrapper;
}
