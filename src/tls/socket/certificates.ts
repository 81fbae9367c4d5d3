import { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls';

/*
 * Certificates as a TLSSocket tells them, out of their DER.
 */

/** Certificates of servers are the same for all their connections: equal ones are kept once. */
const known: Buffer[] = [];
const KNOWN = 16;

/** The same bytes, shared with those who have equal ones. */
export function shareCertificate(der: Buffer): Buffer {
  const same = known.find((each) => each.equals(der));
  if (same !== undefined) return same;
  const own = Buffer.from(der);
  known.unshift(own);
  known.length = Math.min(known.length, KNOWN);
  return own;
}

/** `getPeerCertificate()` without detail, and `getCertificate()`. */
export function certificateObject(der: Buffer): PeerCertificate {
  const object = new X509Certificate(der).toLegacyObject() as unknown as PeerCertificate;
  const { infoAccess } = object as { infoAccess?: unknown };
  if (typeof infoAccess === 'string') object.infoAccess = parsedAccess(infoAccess);
  return object;
}

/** `getPeerCertificate(true)`: each knows who issued it, the last one that it issued itself. */
export function certificateChain(chain: readonly Buffer[]): DetailedPeerCertificate | undefined {
  const objects = chain.map((der) => certificateObject(der) as DetailedPeerCertificate);
  objects.forEach((object, index) => {
    const issuer = objects[index + 1];
    if (issuer !== undefined) object.issuerCertificate = issuer;
    else if (isOwnIssuer(chain[index])) object.issuerCertificate = object;
  });
  return objects[0];
}

/** `getPeerX509Certificate()`, with those who issued it. */
export function x509Chain(chain: readonly Buffer[]): X509Certificate | undefined {
  const certificates = chain.map((der) => new X509Certificate(der));
  certificates.forEach((certificate, index) => {
    const value = certificates[index + 1];
    if (value !== undefined) Object.defineProperty(certificate, 'issuerCertificate', { value });
  });
  return certificates[0];
}

function isOwnIssuer(der: Buffer | undefined): boolean {
  if (der === undefined) return false;
  const certificate = new X509Certificate(der);
  return certificate.checkIssued(certificate);
}

// As Node does it. Source: node lib/internal/tls/common.js, translatePeerCertificate.
function parsedAccess(text: string): NodeJS.Dict<string[]> {
  const access: NodeJS.Dict<string[]> = Object.create(null);
  for (const [, key = '', value = ''] of text.matchAll(/([^\n:]*):([^\n]*)(?:\n|$)/g)) {
    const plain = value.startsWith('"') ? (JSON.parse(value) as string) : value;
    access[key] = [...(access[key] ?? []), plain];
  }
  return access;
}
