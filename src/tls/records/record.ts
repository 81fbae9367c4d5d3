/*
 * How a record of TLS 1.3 lies in memory. Source: RFC 8446, 5.1 and 5.2.
 */

/** Type, version and length in front of each record. */
export const HEADER_BYTES = 5;
/** What each of the cipher suites puts behind the encrypted content. */
export const TAG_BYTES = 16;
/** Header, the type of the content and the tag: what a record is longer than its content, without padding. */
export const OVERHEAD_BYTES = HEADER_BYTES + 1 + TAG_BYTES;
/** The largest body of a record: content, its type, padding and tag. */
export const MAX_BODY_BYTES = 16_384 + 256;

/** The types of content. Source: RFC 8446, B.1. */
export const ALERT = 21;
export const HANDSHAKE = 22;
export const APPLICATION_DATA = 23;

/** Writes the header of an encrypted record. @param bodyBytes content, type and tag. */
export function writeHeader(into: Buffer, at: number, bodyBytes: number): void {
  into[at] = APPLICATION_DATA;
  into[at + 1] = 3;
  into[at + 2] = 3;
  into[at + 3] = bodyBytes >> 8;
  into[at + 4] = bodyBytes & 0xff;
}
