/** A message has room for so many names. */
const MAX_NAMES_SHOWN = 8;

/** What a successor does not listen on yet, and what it has opened that was not passed to it. */
export interface Lack {
  readonly names: readonly string[];
  readonly opened: readonly string[];
}

/** What a successor is not ready for want of, in words that follow its name. */
export function lacks({ names, opened }: Lack): string {
  const what = `has not listened on ${namesOf(names)}`;
  return opened.length === 0 ? what : `${what}, and has opened ${namesOf(opened)} instead`;
}

/** Names of listeners for people: the first of them, where they are many. */
export function namesOf(names: readonly string[]): string {
  const more = names.length > MAX_NAMES_SHOWN ? ` and ${names.length - MAX_NAMES_SHOWN} more` : '';
  return names.slice(0, MAX_NAMES_SHOWN).join(', ') + more;
}

/** On what processes of a release listened that moult does not see. */
export interface UnseenNote {
  /** The generation that did, last. */
  readonly generation: number;
  /** Such as `127.0.0.1:9000`, `udp:127.0.0.1:9000` or `unix:/run/app.sock`. */
  readonly addresses: readonly string[];
}
