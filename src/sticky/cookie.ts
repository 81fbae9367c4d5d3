/*
 * The cookie by which a client is known, from the head of a request, which nobody has read yet.
 */

/** The head of no request is longer where a cookie is looked for. Source: Node's own limit, --max-http-header-size. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** The value of a cookie in the text of `Cookie` fields; undefined where it is not there or empty. Source: RFC 6265, 4.2.1. */
export function cookieIn(fields: string, name: string): string | undefined {
  for (const pair of fields.split(';')) {
    const at = pair.indexOf('=');
    if (at < 0 || pair.slice(0, at).trim() !== name) continue;
    const value = pair.slice(at + 1).trim();
    if (value !== '') return value;
  }
  return undefined;
}

/**
 * What the first bytes of a connection say of a cookie.
 * @returns `more` where the head is not whole yet; else the value, or undefined where there is none or this is no HTTP/1.1.
 */
export function cookieOfHead(bytes: Buffer, name: string): { value: string | undefined } | 'more' {
  const text = bytes.toString('latin1');
  if (!/^[A-Z]{0,20}( |$)/.test(text)) return { value: undefined };
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return bytes.length < MAX_HEAD_BYTES ? 'more' : { value: undefined };
  const fields = text
    .slice(0, end)
    .split('\r\n')
    .slice(1)
    .filter((line) => /^cookie:/i.test(line))
    .map((line) => line.slice('cookie:'.length));
  return { value: cookieIn(fields.join(';'), name) };
}
