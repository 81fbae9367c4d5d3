import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { serialize } from 'node:v8';
import { MoultError } from '#moult/errors.js';
import { decodeTlsState, encodeTlsState, MAX_STATE_BYTES } from '#moult/tls/state/state-codec.js';
import { forgetSecrets, type TlsState } from '#moult/tls/state/tls-state.js';
import { randomBy } from '../random-plan.js';

function state(change: Partial<TlsState> = {}): TlsState {
  return {
    cipher: 'TLS_AES_128_GCM_SHA256',
    clientSecret: randomBytes(32),
    serverSecret: randomBytes(32),
    exporterSecret: randomBytes(32),
    readSequence: 7n,
    writeSequence: 2n ** 40n,
    left: Buffer.from('left'),
    maxSend: 512,
    facts: {
      servername: 'a.test',
      alpnProtocol: 'http/1.1',
      authorized: false,
      authorizationError: 'SELF_SIGNED_CERT_IN_CHAIN',
      peerCertificates: [randomBytes(700), randomBytes(900)],
      certificate: undefined,
      session: randomBytes(100),
      isSessionReused: true,
      finished: randomBytes(32),
      peerFinished: randomBytes(32),
      ephemeralKeyInfo: null,
      sharedSigalgs: ['ECDSA+SHA256'],
    },
    ...change,
  };
}

describe('the state of a TLS connection on its way', () => {
  it('arrives as it was', () => {
    const sent = state();
    const bytes = encodeTlsState(sent);
    assert.ok(bytes !== undefined);
    assert.deepEqual(decodeTlsState(bytes), sent);
  });

  it('is of no use when its secrets are forgotten, and is a copy of what travelled', () => {
    const sent = state();
    const bytes = encodeTlsState(sent) ?? Buffer.alloc(0);
    const arrived = decodeTlsState(bytes);
    bytes.fill(0);
    assert.ok(arrived.serverSecret.equals(sent.serverSecret));
    forgetSecrets(sent);
    for (const secret of [sent.clientSecret, sent.serverSecret, sent.exporterSecret, sent.facts.session])
      assert.ok(secret?.every((byte) => byte === 0));
    assert.ok(arrived.serverSecret.some((byte) => byte !== 0));
  });

  it('stays where it is too large', () => {
    const facts = { ...state().facts, peerCertificates: [randomBytes(MAX_STATE_BYTES)] };
    assert.equal(encodeTlsState(state({ facts })), undefined);
  });

  for (const [what, change] of [
    ['another cipher', { cipher: 'TLS_AES_128_CCM_SHA256' }],
    ['a secret of another length', { serverSecret: randomBytes(48) }],
    ['no secret', { clientSecret: undefined }],
    ['a number that is none', { readSequence: 7 }],
    ['a negative number', { writeSequence: -1n }],
    ['a number that is too high', { writeSequence: 2n ** 53n }],
    ['too much that is left', { left: Buffer.alloc(20_000) }],
    ['a size of records that is none', { maxSend: 0 }],
    ['no facts', { facts: null }],
    [
      'too many certificates',
      { facts: { ...state().facts, peerCertificates: Array(17).fill(Buffer.from('x')) } },
    ],
    ['a name that is no text', { facts: { ...state().facts, servername: 3 } }],
  ] as const)
    it(`is refused with ${what}, and the reason tells nothing of it`, () => {
      const sent = { ...state(), ...change };
      assert.throws(
        () => decodeTlsState(serialize(sent)),
        (error: MoultError) =>
          error instanceof MoultError &&
          error.code === 'MOULT_RESTORE_FAILED' &&
          !error.message.includes(sent.exporterSecret.toString('hex').slice(0, 8)),
      );
    });

  it('is taken or refused, and nothing else happens, with any byte changed', () => {
    const bytes = encodeTlsState(state()) ?? Buffer.alloc(0);
    const random = randomBy(1);
    for (let i = 0; i < 4000; i += 1) {
      const changed = Buffer.from(bytes.subarray(0, i % 3 === 0 ? random(bytes.length) : bytes.length));
      if (changed.length > 0) changed[random(changed.length)] = random(256);
      try {
        const { cipher, clientSecret } = decodeTlsState(changed);
        assert.equal(clientSecret.length, cipher === 'TLS_AES_256_GCM_SHA384' ? 48 : 32);
      } catch (error) {
        assert.ok(error instanceof MoultError, `change ${i}: ${String(error)}`);
      }
    }
  });
});
