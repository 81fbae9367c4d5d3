/** From `://` to the last `@` before the next address or space: a password may have nearly every other character. */
const USER_INFO = /:\/\/(?:(?!:\/\/)\S)*@/g;

/** The same text, or settings, without the user and password of any address in it. */
export function withoutUserInfo(written: unknown): unknown {
  if (typeof written === 'string') return written.replace(USER_INFO, '://');
  if (Array.isArray(written)) return written.map(withoutUserInfo);
  if (typeof written !== 'object' || written === null) return written;
  return Object.fromEntries(Object.entries(written).map(([key, value]) => [key, withoutUserInfo(value)]));
}
