import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import tls from 'node:tls';
import { freeze } from '#moult/node/http/http1.js';
import { capture } from '#moult/tls/capture/capture.js';
import { blockWrites } from '#moult/tls/capture/write-block.js';
import { findOffsets } from '#moult/tls/search/find-offsets.js';
import { KnownConnection } from '#moult/tls/search/known-connection.js';
import { type OpensslOffsets, readPlaces } from '#moult/tls/search/openssl-offsets.js';
import { secretBytes, TLS13_CIPHERS } from '#moult/tls/state/tls-state.js';

describe('the search for the states of TLS connections', () => {
  it('finds the same again and again, and what stands there is right for connections of each cipher', async () => {
    const first = await findOffsets();
    for (let i = 0; i < 5; i += 1) {
      const { marks, ...places } = await findOffsets();
      assert.deepEqual({ ...places, marks: [...marks.keys()] }, { ...first, marks: [...first.marks.keys()] });
    }
    for (const cipher of TLS13_CIPHERS) {
      const known = await KnownConnection.open(cipher);
      await known.exchange(3, 4);
      const found = readPlaces(known.server, first, secretBytes(cipher));
      assert.ok(found !== undefined);
      assert.ok(found.clientSecret.equals(known.secrets.client));
      assert.ok(found.serverSecret.equals(known.secrets.server));
      assert.ok(found.exporterSecret.equals(known.secrets.exporter));
      assert.equal(found.readSequence, BigInt(known.readRecords));
      assert.equal(found.writeSequence, BigInt(known.writtenRecords));
      known.close();
    }
  });
});

describe('a service that has other defaults of TLS', () => {
  // As --tls-cipher-list and --tls-max-v1.2 do.
  for (const [what, defaults] of [
    ['one suite of TLS 1.3', { DEFAULT_CIPHERS: 'TLS_CHACHA20_POLY1305_SHA256:HIGH' }],
    ['no TLS 1.3', { DEFAULT_MAX_VERSION: 'TLSv1.2' }],
  ] as const)
    it(`has the places found all the same: ${what}`, async () => {
      const { DEFAULT_CIPHERS, DEFAULT_MAX_VERSION } = tls;
      Object.assign(tls, defaults);
      try {
        await findOffsets();
        for (const cipher of TLS13_CIPHERS) (await KnownConnection.open(cipher)).close();
      } finally {
        Object.assign(tls, { DEFAULT_CIPHERS, DEFAULT_MAX_VERSION });
      }
    });
});

describe('a capture with places that are not right', () => {
  const nowhere = { pointer: undefined, offset: 1 << 30 };
  /** Each is a way in which a search might have been wrong. */
  const wrong: readonly [string, (right: OpensslOffsets) => Partial<OpensslOffsets>, RegExp][] = [
    ['another pointer for the SSL object', ({ ssl }) => ({ ssl: ssl + 8 }), /not recognised/],
    ['no pointer for the SSL object', () => ({ ssl: 1 << 30 }), /not recognised/],
    ['another self', ({ self }) => ({ self: self + 8 }), /not recognised/],
    [
      'other marks',
      ({ marks }) => ({ marks: new Map([...marks].map(([at, word]) => [at, word + 8n])) }),
      /not recognised/,
    ],
    [
      'another exporter secret',
      ({ exporterSecret }) => ({ exporterSecret: exporterSecret + 1 }),
      /secrets were not right/,
    ],
    ['places that are not mapped', () => ({ readSequence: nowhere }), /not readable/],
    [
      'a number that is too high',
      ({ clientSecret }) => ({ writeSequence: { pointer: undefined, offset: clientSecret } }),
      /numbers were not possible/,
    ],
  ];
  for (const [what, change, why] of wrong)
    it(`is refused, with the reason, and the connection is as it was: ${what}`, async () => {
      const right = await findOffsets();
      const known = await KnownConnection.open('TLS_AES_128_GCM_SHA256');
      await known.exchange(1, 1);
      const unblock = blockWrites(known.server);
      const captured = capture(known.server, { ...right, ...change(right) });
      unblock();
      assert.ok(
        'why' in captured && captured.isForGood,
        JSON.stringify(captured, (_key, value) => (typeof value === 'bigint' ? String(value) : value)),
      );
      assert.match(captured.why, why);
      await known.exchange(2, 2);
      known.close();
    });

  it('is refused for good where a connection speaks TLS 1.2', async () => {
    const { movableCipher } = await import('#moult/tls/capture/capture.js');
    const stand = { getProtocol: () => 'TLSv1.2', getCipher: () => ({ standardName: 'x' }) };
    assert.deepEqual(movableCipher(stand as never), { why: 'TLSv1.2: only TLS 1.3 moves' });
  });
});

describe('a connection with blocked writes', () => {
  it('writes nothing, whoever asks, and nothing when it is destroyed: its client sees no alert', async () => {
    const known = await KnownConnection.open('TLS_AES_128_GCM_SHA256');
    const { bytesRead } = known.client;
    const handle = (known.server as unknown as { _handle: Record<string, (...args: unknown[]) => number> })
      ._handle;
    freeze(known.server);
    blockWrites(known.server);
    for (const name of ['writeBuffer', 'writeUtf8String', 'writeLatin1String', 'writev', 'shutdown'])
      assert.equal(handle[name]?.({}, Buffer.from('x')), -1);
    let hasEnded = false;
    known.client.once('end', () => {
      hasEnded = true;
    });
    const closed = new Promise((resolve) => known.client.once('close', resolve));
    known.server.destroy();
    await closed;
    assert.equal(known.client.bytesRead, bytesRead);
    void hasEnded;
    known.close();
  });
});
