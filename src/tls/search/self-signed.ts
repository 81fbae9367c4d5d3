import { generateKeyPairSync, sign } from 'node:crypto';

/** A key and a certificate for connections of this process to itself. Nobody else ever sees or trusts them. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly cert: string;
}

/** Makes a new key, and a certificate that it has signed itself. Source: RFC 5280, 4.1; RFC 5758, 3.2. */
export function selfSigned(): KeyAndCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = sequence(ECDSA_WITH_SHA256);
  const name = sequence(set(sequence(COMMON_NAME, element(UTF8_STRING, Buffer.from('moult')))));
  const body = sequence(
    element(VERSION, element(INTEGER, Buffer.of(2))),
    element(INTEGER, Buffer.of(1)),
    algorithm,
    name,
    sequence(
      element(UTC_TIME, Buffer.from('200101000000Z')),
      element(UTC_TIME, Buffer.from('491231235959Z')),
    ),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = sign('sha256', body, privateKey);
  const certificate = sequence(
    body,
    algorithm,
    element(BIT_STRING, Buffer.concat([Buffer.of(0), signature])),
  );
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
  };
}

/** Tags and object identifiers of DER. Source: X.690. */
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const VERSION = 0xa0;
const COMMON_NAME = Buffer.from('0603550403', 'hex');
const ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

function set(...parts: readonly Buffer[]): Buffer {
  return element(0x31, Buffer.concat(parts));
}

function element(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}
