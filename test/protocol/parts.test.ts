import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { encodeFrame, type Frame, FrameReader, MAX_JSON_BYTES } from '#moult/protocol/frame.js';
import { MAX_DESCRIPTORS } from '#moult/protocol/limits.js';
import {
  assertForOlder,
  cutInParts,
  goesInOne,
  MAX_WHOLE_BYTES,
  type MessagePart,
  PartsReader,
} from '#moult/protocol/parts.js';
import fc from '../support/fast-check.js';

/** A message whose JSON has so many bytes, also beyond ASCII, so that a part may end in the middle of a character. */
function messageOf(bytes: number): { type: string; text: string } {
  const room = bytes - Buffer.byteLength('{"type":"x","text":""}');
  return { type: 'x', text: 'ä'.repeat(Math.floor(room / 2)) + 'a'.repeat(room % 2) };
}

/** What a reader makes of parts that come over a stream. */
function read(parts: readonly MessagePart[], reader = new PartsReader()): (Frame | undefined)[] {
  const frames = new FrameReader();
  let descriptors = 0;
  return parts.flatMap(({ message, attachment, descriptors: beside }) =>
    frames.push(encodeFrame(message, attachment)).map((frame) => {
      descriptors += beside;
      return reader.push(frame, descriptors, false);
    }),
  );
}

function without(parts: readonly MessagePart[], place: number): MessagePart[] {
  return parts.filter((_, at) => at !== place);
}

function inserted(parts: readonly MessagePart[], place: number, part: MessagePart): MessagePart[] {
  return [...parts.slice(0, place), part, ...parts.slice(place)];
}

const isFrameError = (error: unknown) => error instanceof MoultError && error.code === 'MOULT_PROTOCOL_FRAME';

describe('a message in parts', () => {
  it('comes out as it went in, with its attachment and all its descriptors, whatever its size', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64, max: 3 * MAX_JSON_BYTES }),
        fc.integer({ min: 0, max: 4 * MAX_DESCRIPTORS }),
        fc.uint8Array({ maxLength: 100 }),
        (bytes, descriptors, attachment) => {
          const message = messageOf(bytes);
          const json = Buffer.from(JSON.stringify(message));
          const parts = cutInParts(json, descriptors, Buffer.from(attachment));
          assert.equal(parts.at(-1)?.message.type, 'whole');
          assert.equal(
            parts.reduce((sum, part) => sum + part.descriptors, 0),
            descriptors,
          );
          for (const part of parts) {
            assert.ok(part.descriptors <= MAX_DESCRIPTORS);
            assert.ok(part.message.type === 'whole' || part.attachment.length <= MAX_JSON_BYTES);
          }
          const seen = read(parts);
          assert.deepEqual(seen.slice(0, -1), Array(parts.length - 1).fill(undefined));
          assert.deepEqual(seen.at(-1), { message, attachment: Buffer.from(attachment) });
        },
      ),
      { numRuns: 60 },
    );
  });

  it('of the longest length goes, and a longer one does not', () => {
    const longest = Buffer.from(JSON.stringify(messageOf(MAX_WHOLE_BYTES)));
    assert.equal(longest.length, MAX_WHOLE_BYTES);
    assert.ok(read(cutInParts(longest, 0, Buffer.alloc(0))).at(-1));
    assert.throws(() => cutInParts(Buffer.alloc(MAX_WHOLE_BYTES + 1), 0, Buffer.alloc(0)), isFrameError);
    const reader = new PartsReader();
    const part = { message: { type: 'part' }, attachment: Buffer.alloc(MAX_JSON_BYTES) };
    assert.throws(() => {
      for (let n = 0; n <= MAX_WHOLE_BYTES / MAX_JSON_BYTES; n += 1) reader.push(part, 0, false);
    }, isFrameError);
  });

  it('is an error where a part is missing, doubled or out of place, or a count is wrong', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: MAX_JSON_BYTES + 1, max: 2 * MAX_JSON_BYTES }),
        fc.integer({ min: 254, max: 700 }),
        fc.constantFrom('missing', 'doubled', 'other between', 'only the end', 'bytes', 'count'),
        fc.nat(),
        (bytes, descriptors, fault, at) => {
          const parts = cutInParts(
            Buffer.from(JSON.stringify(messageOf(bytes))),
            descriptors,
            Buffer.alloc(0),
          );
          const place = at % (parts.length - 1);
          const chosen = parts[place] as MessagePart;
          const end = parts.at(-1) as MessagePart & { message: { bytes: number; count: number } };
          const other = { message: { type: 'confirm' }, attachment: Buffer.alloc(0), descriptors: 0 };
          const wrong = (change: object) => [
            ...parts.slice(0, -1),
            { ...end, message: { ...end.message, ...change } },
          ];
          const faulty: Record<typeof fault, readonly unknown[]> = {
            missing: without(parts, place),
            doubled: inserted(parts, place, chosen),
            'other between': inserted(parts, place + 1, other as unknown as MessagePart),
            'only the end': [end],
            bytes: wrong({ bytes: end.message.bytes + 1 }),
            count: wrong({ count: end.message.count - 1 }),
          };
          assert.throws(() => read(faulty[fault] as MessagePart[]), isFrameError, fault);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('may have fewer descriptors where the kernel dropped some, as one record may', () => {
    const parts = cutInParts(Buffer.from('{"type":"x"}'), 300, Buffer.alloc(0));
    const reader = new PartsReader();
    const frames = parts.map(({ message, attachment }) => ({ message: { ...message }, attachment }));
    const seen = frames.map((frame) => reader.push(frame, 200, true));
    assert.deepEqual(seen.at(-1)?.message, { type: 'x' });
  });

  it('leaves others as they are, one after the other', () => {
    const reader = new PartsReader();
    const frame = { message: { type: 'confirm' }, attachment: Buffer.alloc(0) };
    assert.equal(reader.push(frame, 0, false), frame);
    assert.ok(
      read(cutInParts(Buffer.from(JSON.stringify(messageOf(2_000_000))), 0, Buffer.alloc(0)), reader).at(-1),
    );
    assert.equal(reader.push(frame, 0, false), frame);
    assert.equal(reader.isInside, false);
  });
});

describe('an older release of moult', () => {
  it('is sent what it takes, and for more the number is told', () => {
    const list = (length: number) => Array.from({ length }, () => ({}));
    assert.ok(goesInOne(MAX_JSON_BYTES, MAX_DESCRIPTORS));
    assert.doesNotThrow(() =>
      assertForOlder({ listeners: list(253), claims: list(253) }, MAX_JSON_BYTES, 253),
    );
    for (const [message, bytes, descriptors, said] of [
      [{ listeners: list(254) }, 10, 0, /254 listeners.*at most 253/],
      [{ claims: list(300) }, 10, 0, /300 listeners.*at most 253/],
      [{}, 10, 254, /254 descriptors.*at most 253/],
      [{}, MAX_JSON_BYTES + 1, 0, /1048577 bytes.*at most 1,048,576/],
    ] as const) {
      assert.throws(
        () => assertForOlder(message, bytes, descriptors),
        (error: unknown) => {
          assert.ok(error instanceof MoultError);
          assert.equal(error.code, 'MOULT_TOO_LARGE');
          assert.match(error.message, said);
          return true;
        },
      );
    }
  });
});
