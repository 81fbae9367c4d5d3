import type { IncomingMessage } from 'node:http';
import { type EndpointAddress, isLocal } from '../endpoint/address.js';

/** The name of the cookie of a session: browsers send a cookie to all ports of a host. */
export function cookieName(address: EndpointAddress): string {
  return 'port' in address ? `moult-dashboard-${address.port}` : 'moult-dashboard';
}

/** A page of another site cannot send it without being asked first whether it may, and nobody says yes. */
export const ACTION_HEADER = 'x-moult-action';

/** What every answer says to the browser: nothing from elsewhere, nothing inline, in nobody's frame. */
export const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

/** The word of the session that a request brings. */
export function sessionOf({ headers }: IncomingMessage, name: string): string | undefined {
  const cookies = (headers.cookie ?? '').split(';').map((one) => one.trim());
  return cookies.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
}

/**
 * Whether a request names this machine as browsers do that mean it: a name of another site that leads here, by its owner's
 * wish, does not.
 */
export function isForThisHost({ headers }: IncomingMessage, address: EndpointAddress): boolean {
  if ('path' in address || !isLocal(address)) return true;
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Whether a request was made by a page of this very server, and not by that of another site. */
export function isFromOurPage({ headers }: IncomingMessage): boolean {
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'];
  const isSameOrigin = origin !== undefined && host !== undefined && originHost(origin) === host;
  return isSameOrigin && (site === undefined || site === 'same-origin') && headers[ACTION_HEADER] === '1';
}

function originHost(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined;
  }
}
