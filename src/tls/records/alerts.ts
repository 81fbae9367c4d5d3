/*
 * Alerts of TLS 1.3, and what Node says of them. Source: RFC 8446, 6; OpenSSL ssl/ssl_err.c.
 */

/** Descriptions of alerts that the record layer sends or looks at. */
export const CLOSE_NOTIFY = 0;
export const UNEXPECTED_MESSAGE = 10;
export const BAD_RECORD_MAC = 20;
export const RECORD_OVERFLOW = 22;
export const ILLEGAL_PARAMETER = 47;
export const DECODE_ERROR = 50;
export const PROTOCOL_VERSION = 70;
export const USER_CANCELED = 90;

export const WARNING = 1;
export const FATAL = 2;

const SSLV3_NAMES = new Map([
  [10, 'UNEXPECTED_MESSAGE'],
  [20, 'BAD_RECORD_MAC'],
  [30, 'DECOMPRESSION_FAILURE'],
  [40, 'HANDSHAKE_FAILURE'],
  [42, 'BAD_CERTIFICATE'],
  [43, 'UNSUPPORTED_CERTIFICATE'],
  [44, 'CERTIFICATE_REVOKED'],
  [45, 'CERTIFICATE_EXPIRED'],
  [46, 'CERTIFICATE_UNKNOWN'],
  [47, 'ILLEGAL_PARAMETER'],
]);
const TLSV1_NAMES = new Map([
  [22, 'RECORD_OVERFLOW'],
  [48, 'UNKNOWN_CA'],
  [49, 'ACCESS_DENIED'],
  [50, 'DECODE_ERROR'],
  [51, 'DECRYPT_ERROR'],
  [70, 'PROTOCOL_VERSION'],
  [71, 'INSUFFICIENT_SECURITY'],
  [80, 'INTERNAL_ERROR'],
  [86, 'INAPPROPRIATE_FALLBACK'],
]);
const TLSV13_NAMES = new Map([
  [109, 'MISSING_EXTENSION'],
  [116, 'CERTIFICATE_REQUIRED'],
]);

/** Whether the OpenSSL of this Node has the record layer of before 3.2, which words and orders some things otherwise. */
export const HAS_OLD_RECORD_LAYER = /^3\.[01]\./.test(process.versions.openssl);

/** From 3.2 on OpenSSL says "ssl/tls alert" where it said "sslv3 alert". */
const OLD_PREFIX = HAS_OLD_RECORD_LAYER ? 'SSLV3' : 'SSL/TLS';

/** Why a TLS connection can't go on; the code is that of Node for the same. */
export class TlsFailure extends Error {
  readonly code: string;
  /** The alert that tells the client; undefined where the client told us. */
  readonly alert: number | undefined;

  constructor(code: string, message: string, alert?: number) {
    super(message);
    this.name = 'Error';
    this.code = code;
    this.alert = alert;
  }
}

/** What ends a connection whose client sent something wrong. @param reason as OpenSSL words it. */
export function brokenBy(reason: string, alert: number): TlsFailure {
  const code = `ERR_SSL_${reason.toUpperCase().replace(/[ -]/g, '_')}`;
  return new TlsFailure(code, `TLS: ${reason}; sent alert ${alert} to the client`, alert);
}

/** What ends a connection whose client sent a fatal alert. */
export function toldBy(alert: number): TlsFailure {
  return new TlsFailure(`ERR_SSL_${nameOf(alert)}`, `TLS: the client sent alert ${alert}`);
}

function nameOf(alert: number): string {
  const [old, first, third] = [SSLV3_NAMES, TLSV1_NAMES, TLSV13_NAMES].map((names) => names.get(alert));
  if (old !== undefined) return `${OLD_PREFIX}_ALERT_${old}`;
  if (first !== undefined) return `TLSV1_ALERT_${first}`;
  return third === undefined ? `TLSV1_ALERT_${alert}` : `TLSV13_ALERT_${third}`;
}
