/*
 * What a client may send on a TLS 1.3 connection, good or bad, by a seed.
 */

/** A piece of what a client sends. */
export type Step =
  | { readonly kind: 'record'; readonly type: number; readonly content: Buffer; readonly padding: number }
  /** A KeyUpdate, in records with so many bytes each; the client's next record has the next key. */
  | { readonly kind: 'key update'; readonly request: number; readonly pieces: readonly number[] }
  /** A record of which one byte is another. */
  | { readonly kind: 'changed'; readonly content: Buffer; readonly at: number; readonly by: number }
  /** A record of which the end is missing. */
  | { readonly kind: 'cut'; readonly content: Buffer; readonly bytes: number }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

export interface Plan {
  readonly seed: number;
  readonly steps: readonly Step[];
  /** The client writes so many bytes at a time; all at once where it is 0. */
  readonly writeBytes: number;
}

export type Random = (below: number) => number;

/** Numbers from 0 to below a limit, always the same ones for a seed. Source: mulberry32, by Tommy Ettinger. */
export function randomBy(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** All that is sent is shorter: what lies unread when a server closes would reset the connection. */
const MAX_BYTES = 40_000;
const APPLICATION_DATA = 23;
const MAX_CONTENT = 16_384;

/** What a client sends, by a seed. Most plans end with something that no client should send. */
export function randomPlan(seed: number): Plan {
  const random = randomBy(seed);
  const steps: Step[] = [];
  let bytes = 0;
  const add = (step: Step) => {
    steps.push(step);
    bytes += lengthOf(step);
  };
  for (let count = random(7); count >= 0 && bytes < MAX_BYTES / 2; count -= 1)
    for (const step of good(random)) add(step);
  if (random(4) > 0) for (const step of bad(random)) add(step);
  // What comes behind means nothing any more, or is all right after all.
  if (random(3) === 0) add(data(random, 200));
  return { seed, steps, writeBytes: random(2) === 0 ? 0 : 1 + random(3000) };
}

function lengthOf(step: Step): number {
  if (step.kind === 'record') return step.content.length + step.padding + 22;
  if (step.kind === 'bytes') return step.bytes.length;
  return step.kind === 'key update' ? 60 : step.content.length + 22;
}

function data(random: Random, below: number): Step {
  const content = bytesBy(random, random(below));
  const padding = random(3) === 0 ? random(random(2) === 0 ? 20 : 700) : 0;
  return { kind: 'record', type: APPLICATION_DATA, content, padding };
}

function good(random: Random): Step[] {
  switch (random(8)) {
    case 0:
      return [{ kind: 'key update', request: random(2), pieces: [5] }];
    case 1:
      return [
        { kind: 'key update', request: random(2), pieces: random(2) === 0 ? [1 + random(4)] : [1, 2, 1] },
      ];
    case 2:
      return Array.from({ length: 1 + random(random(4) === 0 ? 36 : 4) }, () => empty(random));
    case 3:
      return [{ kind: 'record', type: 21, content: Buffer.from([1 + random(2), 90]), padding: random(9) }];
    case 4:
      return [
        { ...data(random, 2), content: bytesBy(random, MAX_CONTENT - random(3)), padding: random(4) } as Step,
      ];
    default:
      return [data(random, 3000)];
  }
}

function bad(random: Random): Step[] {
  const alert = (...content: number[]): Step => ({
    kind: 'record',
    type: 21,
    content: Buffer.from(content),
    padding: random(4),
  });
  const message = (...content: number[]): Step => ({
    kind: 'record',
    type: 22,
    content: Buffer.from(content),
    padding: random(4),
  });
  const content = bytesBy(random, 1 + random(100));
  switch (random(21)) {
    case 0:
      return [alert(1, 0)];
    case 1:
      return [alert(2, [10, 20, 40, 42, 46, 47, 48, 50, 51, 70, 80, 109, 0][random(13)] ?? 0)];
    case 2:
      return [alert(...([[], [1], [1, 0, 0], [2, 20, 1, 0]][random(4)] ?? []))];
    case 3:
      return Array.from({ length: 3 + random(4) }, () => alert(1, 90));
    case 4:
      return [message(24, 0, 0, 1, random(2), 23)];
    case 5:
      return [message(24, 0, 0, 1, 2 + random(250))];
    case 6:
      return [message(24, 0, 0, random(2) === 0 ? 0 : 2 + random(9), 0)];
    case 7:
      return [message(random(24), 0, 0, random(3), 0)];
    case 8:
      return [message()];
    case 9:
      return [message(24, 0, 0), data(random, 50)];
    case 10:
      return [message(24), alert(1, 0)];
    case 11:
      return [{ kind: 'record', type: [0, 1, 20, 24, 25, 26, 255][random(7)] ?? 0, content, padding: 0 }];
    case 12:
      return [{ kind: 'record', type: 0, content: Buffer.alloc(random(30)), padding: random(30) }];
    case 13:
      return [
        {
          kind: 'record',
          type: 23,
          content: bytesBy(random, MAX_CONTENT + 1 + random(2)),
          padding: random(3),
        },
      ];
    case 14:
      return [{ kind: 'record', type: 23, content: bytesBy(random, MAX_CONTENT), padding: 254 + random(3) }];
    case 15:
      return [{ kind: 'cut', content, bytes: 1 + random(content.length + 21) }];
    case 16:
      return [{ kind: 'bytes', bytes: bytesBy(random, 5 + random(300)) }];
    case 17:
      return [
        { kind: 'bytes', bytes: Buffer.concat([Buffer.from([23, 3, 3, 0, random(20)]), Buffer.alloc(20)]) },
      ];
    case 18:
      // What each of them is counted for, and which of the others ends the count.
      return Array.from({ length: 4 + random(60) }, (): Step => {
        if (random(4) === 0) return alert(1 + random(2), 90);
        if (random(9) > 0) return empty(random);
        return random(2) === 0
          ? data(random, 9)
          : { kind: 'key update', request: 0, pieces: random(2) === 0 ? [5] : [2, 3] };
      });
    default:
      return [{ kind: 'changed', content, at: random(content.length + 22), by: 1 << random(8) }];
  }
}

function empty(random: Random): Step {
  return { kind: 'record', type: APPLICATION_DATA, content: Buffer.alloc(0), padding: random(3) };
}

function bytesBy(random: Random, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at += 1) bytes[at] = random(256);
  return bytes;
}
