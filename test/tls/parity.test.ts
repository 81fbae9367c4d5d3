import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe } from 'node:test';
import { type ConnectionOptions, TLSSocket } from 'node:tls';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';
import { makeAuthority } from './authority.js';
import { connectKnown, type Known, listenKnown, moveHere } from './move-here.js';

const CONTEXT = Buffer.from('context');

/** Methods of TLSSocket that are compared, or of which docs/reference/tls.md says what is different. */
const ANSWERS: Readonly<Record<string, (socket: TLSSocket) => unknown>> = {
  getCipher: (socket) => ({ ...socket.getCipher() }),
  getProtocol: (socket) => socket.getProtocol(),
  getSharedSigalgs: (socket) => socket.getSharedSigalgs(),
  getEphemeralKeyInfo: (socket) => socket.getEphemeralKeyInfo(),
  getFinished: (socket) => socket.getFinished(),
  getPeerFinished: (socket) => socket.getPeerFinished(),
  getSession: (socket) => socket.getSession(),
  getTLSTicket: (socket) => socket.getTLSTicket(),
  isSessionReused: (socket) => socket.isSessionReused(),
  getPeerCertificate: (socket) => plain(socket.getPeerCertificate()),
  getCertificate: (socket) => plain(socket.getCertificate()),
  getPeerX509Certificate: (socket) => socket.getPeerX509Certificate()?.toString(),
  getX509Certificate: (socket) => socket.getX509Certificate()?.toString(),
};
const OTHERS: Readonly<Record<string, (socket: TLSSocket) => unknown>> = {
  'the chain': (socket) => chainOf(socket),
  'exported keys': (socket) =>
    [16, 32, 100].map((length) => socket.exportKeyingMaterial(length, 'EXPORTER-test', CONTEXT)),
  properties: ({ encrypted, authorized, authorizationError, alpnProtocol, servername }) => [
    encrypted,
    authorized,
    authorizationError,
    alpnProtocol,
    servername,
  ],
  addresses: (socket) => [
    socket.remoteAddress,
    socket.remotePort,
    socket.remoteFamily,
    socket.localAddress,
    socket.localPort,
    socket.address(),
  ],
  state: (socket) => [
    socket.pending,
    socket.connecting,
    socket.readyState,
    socket.timeout,
    socket.allowHalfOpen,
  ],
  'its class': (socket) => [socket instanceof TLSSocket, socket.constructor.name],
};
const NOT_COMPARED = [
  'exportKeyingMaterial',
  'disableRenegotiation',
  'renegotiate',
  'setMaxSendFragment',
  'setKeyCert',
  'enableTrace',
  // Of clients.
  'setServername',
  'setSession',
];

describe('what a TLSSocket answers', () => {
  const kinds: [string, (authority: ReturnType<typeof makeAuthority>) => ConnectionOptions][] = [
    ['a client without a certificate', () => ({})],
    ['a name and a protocol', () => ({ servername: 'localhost', ALPNProtocols: ['http/1.1'] })],
    ['a certificate that is trusted', ({ client }) => ({ ...client })],
    ['a certificate that is not', ({ server, ca }) => ({ ...server, ca })],
  ];
  tidy('is the same after a move', async (later) => {
    const authority = makeAuthority(temporaryFolder(later));
    for (const ciphers of [
      'TLS_AES_128_GCM_SHA256',
      'TLS_AES_256_GCM_SHA384',
      'TLS_CHACHA20_POLY1305_SHA256',
    ]) {
      // The other certificate of the last kind is trusted by nobody.
      const listener = await listenKnown(later, {
        ...authority.server,
        ca: authority.ca,
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: ['h2', 'http/1.1'],
        ciphers,
      });
      for (const [name, optionsOf] of kinds) {
        const known = await connectKnown(later, listener, optionsOf(authority));
        compare(known, `${name}, ${ciphers}`).destroy();
      }
    }
  });

  tidy('is the same for a session that was resumed, and the client gets the same keys', async (later) => {
    const authority = makeAuthority(temporaryFolder(later));
    const listener = await listenKnown(later, authority.server);
    const first = await connectKnown(later, listener, { servername: 'localhost' });
    const session = first.client.getSession();
    first.client.destroy();
    const known = await connectKnown(later, listener, {
      servername: 'localhost',
      session,
    } as ConnectionOptions);
    assert.equal(known.client.isSessionReused(), true);
    const moved = compare(known, 'resumed');
    for (const context of [CONTEXT, Buffer.alloc(0)])
      assert.deepEqual(
        moved.exportKeyingMaterial(48, 'EXPORTER-test', context),
        known.client.exportKeyingMaterial(48, 'EXPORTER-test', context),
      );
    moved.destroy();
  });

  tidy('is null once it is destroyed, and each method is known', async (later) => {
    const authority = makeAuthority(temporaryFolder(later));
    const listener = await listenKnown(later, authority.server);
    const moved = moveHere(await connectKnown(later, listener));
    const native = await connectKnown(later, listener);
    moved.destroy();
    native.server.destroy();
    for (const [name, answer] of Object.entries(ANSWERS))
      assert.deepEqual(answer(moved), answer(native.server), name);
    const methods = Object.getOwnPropertyNames(TLSSocket.prototype).filter(
      (name) => !/^(_|constructor$)/.test(name),
    );
    assert.deepEqual(methods.sort(), [...Object.keys(ANSWERS), ...NOT_COMPARED].sort());
    for (const name of methods.filter((name) => !/^set(Servername|Session)$/.test(name)))
      assert.notEqual(
        (moved as unknown as Record<string, unknown>)[name],
        (TLSSocket.prototype as unknown as Record<string, unknown>)[name],
        `${name} is OpenSSL's`,
      );
  });

  tidy('and refuses, is as with TLS 1.3 below', async (later) => {
    const authority = makeAuthority(temporaryFolder(later));
    const moved = moveHere(await connectKnown(later, await listenKnown(later, authority.server)));
    assert.equal(moved.setMaxSendFragment(511), false);
    assert.equal(moved.setMaxSendFragment(16_385), false);
    assert.equal(moved.setMaxSendFragment(512), true);
    const error = await new Promise((resolve) => {
      assert.equal(moved.renegotiate({}, resolve), false);
    });
    assert.match(String(error), /no renegotiation/);
    moved.disableRenegotiation();
    assert.throws(() => moved.exportKeyingMaterial(0, 'label', CONTEXT), RangeError);
    const { setServername } = moved as unknown as { setServername(name: string): void };
    assert.throws(() => setServername.call(moved, 'x'), { code: 'ERR_TLS_SNI_FROM_SERVER' });
    moved.destroy();
    await once(moved, 'close');
  });
});

function compare(known: Known, name: string) {
  const { server } = known;
  const before = Object.entries({ ...ANSWERS, ...OTHERS }).map(
    ([key, answer]) => [key, answer(server)] as const,
  );
  const issuer = server.getPeerX509Certificate()?.issuerCertificate;
  const moved = moveHere(known);
  // Only those that the client sent; a moved one knows those of the server, too.
  if (issuer) assert.equal(moved.getPeerX509Certificate()?.issuerCertificate?.toString(), issuer.toString());
  for (const [key, answer] of before)
    assert.deepEqual(
      ({ ...ANSWERS, ...OTHERS }[key] as (socket: TLSSocket) => unknown)(moved),
      answer,
      `${name}: ${key}`,
    );
  return moved;
}

/** Without what makes it a chain. */
function plain(certificate: object | null) {
  return certificate && { ...certificate, issuerCertificate: undefined };
}

function chainOf(socket: TLSSocket): unknown[] {
  const chain: unknown[] = [];
  let at = socket.getPeerCertificate(true);
  while (at?.raw !== undefined) {
    chain.push(plain(at));
    if (at.issuerCertificate === at) return [...chain, 'has issued itself'];
    at = at.issuerCertificate;
  }
  return chain;
}
