// What OpenSSL seals on connections that have not moved yet, so that a proof sees both ends of a move: OpenSSL itself tells
// of each record that it writes. Slow, and only for proofs: moult never listens to that.
import { createHash, createHmac } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { inspect } from 'node:util';
import koffi from 'koffi';

/* Source: openssl/ssl3.h, openssl/tls1.h. */
const WRITTEN = 1;
const HANDSHAKE = 22;
const INNER_CONTENT_TYPE = 257;
const SERVER_HELLO = 2;
const FINISHED = 20;
const KEY_UPDATE = 24;

const lib = koffi.load(null);
const told = koffi.pointer(
  koffi.proto(
    'void moultToldOfRecord(int written, int version, int type, void *bytes, size_t length, void *ssl, void *arg)',
  ),
);
const callback = lib.func('SSL_CTX_set_msg_callback', 'void', ['uintptr_t', told]);
const clientRandom = lib.func('SSL_get_client_random', 'size_t', ['void *', 'uint8_t *', 'size_t']);

/** Calls back with the name of the key and the number of each record of TLS 1.3 that servers of this process seal by OpenSSL. */
export function watchNative(onSealed) {
  const { listen } = net.Server.prototype;
  const secrets = new Map();
  const connections = new Map();
  const register = koffi.register((written, _version, type, bytes, _length, ssl) => {
    // An exception must not reach OpenSSL.
    try {
      if (written === WRITTEN) note(connections, secrets, type, bytes, ssl, onSealed);
    } catch (error) {
      process.stderr.write(`log-native: ${error.stack}\n`);
      process.exit(70);
    }
  }, told);
  const watched = new WeakSet();
  net.Server.prototype.listen = function (...args) {
    const external = this instanceof tls.Server ? this._sharedCreds?.context?._external : undefined;
    if (external !== undefined && !watched.has(this)) {
      watched.add(this);
      this.on('keylog', (line) => {
        const [label, random, secret] = line.toString('latin1').trim().split(' ');
        if (label === 'SERVER_TRAFFIC_SECRET_0') secrets.set(random, Buffer.from(secret, 'hex'));
      });
      callback(BigInt(`0x${/External: (?:0x)?([0-9a-f]+)/.exec(inspect(external))[1]}`), register);
    }
    return listen.apply(this, args);
  };
}

function note(connections, secrets, type, bytes, ssl, onSealed) {
  const at = koffi.address(ssl);
  if (type === HANDSHAKE) {
    const message = koffi.decode(bytes, 'uint8_t');
    // A new connection may have the address of an old one.
    if (message === SERVER_HELLO)
      connections.set(at, { secret: undefined, name: undefined, sequence: 0, isApplication: false });
    const one = connections.get(at);
    if (one === undefined) return;
    if (message === FINISHED) one.isApplication = true;
    if (message === KEY_UPDATE) setSecret(one, nextOf(one.secret));
    return;
  }
  const one = connections.get(at);
  if (type !== INNER_CONTENT_TYPE || !one?.isApplication) return;
  if (one.secret === undefined) {
    const random = Buffer.alloc(32);
    clientRandom(ssl, random, random.length);
    const secret = secrets.get(random.toString('hex'));
    if (secret === undefined) throw new Error('the secret of a connection was not logged');
    secrets.delete(random.toString('hex'));
    setSecret(one, secret);
  }
  onSealed(one.name, one.sequence);
  one.sequence += 1;
}

function setSecret(one, secret) {
  Object.assign(one, {
    secret,
    name: createHash('sha256').update(secret).digest('hex').slice(0, 16),
    sequence: 0,
  });
}

/** Source: RFC 8446, 7.2 and 7.1: the first block of HKDF-Expand is as long as the secret. */
function nextOf(secret) {
  const label = 'tls13 traffic upd';
  const info = Buffer.from([0, secret.length, label.length, ...Buffer.from(label), 0, 1]);
  return createHmac(secret.length === 48 ? 'sha384' : 'sha256', secret)
    .update(info)
    .digest();
}
