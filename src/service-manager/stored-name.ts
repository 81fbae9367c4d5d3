import { createHash } from 'node:crypto';

/*
 * The names under which a service manager stores our listeners. Source: systemd.exec(5), $LISTEN_FDNAMES;
 * systemd src/basic/fd-util.c, fdname_is_valid: at most 255 characters from ' ' to '~', without ':'.
 */

const OURS = 'moult/';
/** Begins what stands for a name that is too long. */
const HASHED = '#';
const MAX_LENGTH = 255;

/** The name under which a listener is stored, such as `moult/tcp%3A//*%3A3000`. */
export function storedName(listener: string): string {
  const encoded = [...Buffer.from(listener, 'utf8')].map(encode).join('');
  const name = `${OURS}${encoded}`;
  if (name.length <= MAX_LENGTH && !encoded.startsWith(HASHED)) return name;
  return `${OURS}${HASHED}${createHash('sha256').update(listener).digest('hex')}`;
}

/** Whether something was stored by moult. */
export function isStoredByUs(stored: string): boolean {
  return stored.startsWith(OURS);
}

/** The listener that is stored under this name; undefined where the name does not tell. */
export function listenerStoredAs(stored: string): string | undefined {
  const encoded = stored.slice(OURS.length);
  if (!isStoredByUs(stored) || encoded === '' || encoded.startsWith(HASHED)) return undefined;
  const bytes = encoded.replace(/%([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

function encode(byte: number): string {
  const character = String.fromCharCode(byte);
  if (byte > 0x20 && byte < 0x7f && character !== ':' && character !== '%') return character;
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}
