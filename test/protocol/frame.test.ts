import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import {
  decodeHeader,
  encodeFrame,
  type Frame,
  FrameReader,
  HEADER_BYTES,
  MAX_ATTACHMENT_BYTES,
  MAX_JSON_BYTES,
} from '#moult/protocol/frame.js';
import fc from '../support/fast-check.js';

const message = fc
  .record({ type: fc.string(), fields: fc.dictionary(fc.string(), fc.jsonValue()) })
  .map(({ type, fields }) => ({ ...fields, type }));
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const frame = fc.record({ message, attachment: bytes(300) });

/** A stream cut at random places, at some into nothing at all. */
function cut(stream: Buffer, places: readonly number[]): Buffer[] {
  const at = [...places.map((place) => place % (stream.length + 1)), stream.length].sort((a, b) => a - b);
  let from = 0;
  return at.map((to) => {
    const chunk = stream.subarray(from, to);
    from = to;
    return chunk;
  });
}

function readAll(reader: FrameReader, chunks: readonly Buffer[]): Frame[] {
  return chunks.flatMap((chunk) => reader.push(chunk));
}

function header(jsonBytes: number, attachmentBytes: number): Buffer {
  const buffer = Buffer.alloc(HEADER_BYTES);
  buffer.writeUInt32BE(jsonBytes, 0);
  buffer.writeUInt32BE(attachmentBytes, 4);
  return buffer;
}

const isFrameError = (error: unknown) => error instanceof MoultError && error.code === 'MOULT_PROTOCOL_FRAME';

describe('frames', () => {
  it('come out as they went in, in order, whatever the chunks', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (frames, places) => {
          const stream = Buffer.concat(frames.map((one) => encodeFrame(one.message, one.attachment)));
          const reader = new FrameReader();
          const read = readAll(reader, cut(stream, places));
          // What JSON makes of it: -0 becomes 0.
          const sent = frames.map((one) => ({
            message: JSON.parse(JSON.stringify(one.message)),
            attachment: one.attachment,
          }));
          assert.deepEqual(read, sent);
          assert.equal(reader.heldBytes, 0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('come out byte by byte', () => {
    const reader = new FrameReader();
    const stream = Buffer.concat([
      encodeFrame({ type: 'a' }, Buffer.from('xyz')),
      encodeFrame({ type: 'b' }),
      encodeFrame({ type: 'c', text: 'é漢😀' }),
    ]);
    const read = readAll(
      reader,
      [...stream].map((byte) => Buffer.from([byte])),
    );
    assert.deepEqual(
      read.map((one) => [one.message.type, one.attachment.toString()]),
      [
        ['a', 'xyz'],
        ['b', ''],
        ['c', ''],
      ],
    );
    assert.equal(read[2]?.message.text, 'é漢😀');
  });

  it('of the greatest lengths pass, and one byte more is refused where it is written', () => {
    const longest = { type: 'x', text: 'x'.repeat(MAX_JSON_BYTES - '{"type":"x","text":""}'.length) };
    const attachment = Buffer.alloc(MAX_ATTACHMENT_BYTES, 7);
    const [read] = new FrameReader().push(encodeFrame(longest, attachment));
    assert.equal(String(read?.message.text).length, longest.text.length);
    assert.ok(read?.attachment.equals(attachment));
    assert.throws(() => encodeFrame({ ...longest, text: `${longest.text}x` }), isFrameError);
    assert.throws(() => encodeFrame({ type: 'x' }, Buffer.alloc(MAX_ATTACHMENT_BYTES + 1)), isFrameError);
  });

  it('are refused by their header alone when they announce more than the limits, or less than JSON can be', () => {
    for (const [jsonBytes, attachmentBytes] of [
      [MAX_JSON_BYTES + 1, 0],
      [0xffff_ffff, 0],
      [0, 0],
      [1, 0],
      [2, MAX_ATTACHMENT_BYTES + 1],
      [2, 0xffff_ffff],
    ] as const) {
      assert.throws(() => decodeHeader(header(jsonBytes, attachmentBytes)), isFrameError);
      assert.throws(() => new FrameReader().push(header(jsonBytes, attachmentBytes)), isFrameError);
    }
  });

  it('hold nothing but what came, whatever their header announces', () => {
    const reader = new FrameReader();
    const before = process.memoryUsage().arrayBuffers;
    assert.deepEqual(reader.push(header(MAX_JSON_BYTES, MAX_ATTACHMENT_BYTES)), []);
    assert.deepEqual(reader.push(Buffer.from('{')), []);
    assert.equal(reader.heldBytes, 1);
    assert.ok(process.memoryUsage().arrayBuffers - before < 64 * 1024);
  });

  it('that are truncated are waited for, and are no frame', () => {
    const whole = encodeFrame({ type: 'hello' }, Buffer.from('beside'));
    for (let length = 0; length < whole.length; length += 1) {
      assert.deepEqual(new FrameReader().push(whole.subarray(0, length)), []);
    }
  });

  it('of anything but a JSON object with a type are refused', () => {
    for (const text of [
      '{}',
      '[]',
      'null',
      '12',
      '"type"',
      '{"type":1}',
      '{"type":null}',
      '{"type"',
      '\xff\xfe',
      '[["type"]]',
    ]) {
      const json = Buffer.from(text, 'latin1');
      assert.throws(
        () => new FrameReader().push(Buffer.concat([header(json.length, 0), json])),
        isFrameError,
        text,
      );
    }
  });

  it('nested as deep as a frame has room for end in a frame or a typed error', () => {
    for (const text of [`${'['.repeat(400_000)}${']'.repeat(400_000)}`, '['.repeat(MAX_JSON_BYTES)]) {
      const json = Buffer.from(text);
      assert.throws(
        () => new FrameReader().push(Buffer.concat([header(json.length, 0), json])),
        isFrameError,
      );
    }
  });

  it('made of random bytes throw nothing but a typed error', () => {
    const smallHeader = fc.tuple(fc.nat(40), fc.nat(20)).map(([a, b]) => header(a, b));
    const piece = fc.oneof(
      bytes(50),
      smallHeader,
      fc.json().map((json) => Buffer.from(json)),
      frame.map((one) => encodeFrame(one.message, one.attachment)),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (pieces, places) => {
          const reader = new FrameReader();
          try {
            readAll(reader, cut(Buffer.concat(pieces), places));
          } catch (error) {
            assert.ok(isFrameError(error), String(error));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('do not keep the memory of the stream alive by their attachment', () => {
    const chunk = Buffer.concat([
      encodeFrame({ type: 'a' }, Buffer.from('few')),
      encodeFrame({ type: 'b', text: 'x'.repeat(100_000) }),
    ]);
    const [first] = new FrameReader().push(chunk);
    assert.notEqual(first?.attachment.buffer, chunk.buffer);
  });
});
