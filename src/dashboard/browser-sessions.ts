import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const TOKEN_MS = 10 * 60_000;
const MAX_TOKENS = 8;
const MAX_SESSIONS = 16;

/**
 * Who may look and act: whoever comes with a token, once, within ten minutes, gets a session, which is known by a cookie.
 * Of sessions only hashes are kept.
 */
export class BrowserSessions {
  /** When each token was made. */
  readonly #tokens = new Map<string, number>();
  #sessions: string[];
  readonly #file: string | undefined;

  /** @param file in which sessions outlive this program; the folder is the user's own. */
  constructor(file?: string) {
    this.#file = file;
    this.#sessions = file === undefined ? [] : readSessions(file);
  }

  /** A word that lets one browser in. @param now milliseconds since 1970. */
  token(now: number): string {
    const token = randomBytes(24).toString('base64url');
    this.#tokens.set(hash(token), now);
    const [oldest] = this.#tokens.keys();
    if (this.#tokens.size > MAX_TOKENS && oldest !== undefined) this.#tokens.delete(oldest);
    return token;
  }

  /** @returns the word of a new session; undefined for a token that is not known, was used, or is too old. */
  begin(token: string, now: number): string | undefined {
    const madeAt = this.#tokens.get(hash(token));
    this.#tokens.delete(hash(token));
    if (madeAt === undefined || now - madeAt > TOKEN_MS) return undefined;
    const session = randomBytes(24).toString('base64url');
    this.#sessions = [...this.#sessions, hash(session)].slice(-MAX_SESSIONS);
    this.#write();
    return session;
  }

  /** Whether this is the word of a session. */
  has(session: string | undefined): boolean {
    return session !== undefined && this.#sessions.includes(hash(session));
  }

  #write(): void {
    if (this.#file === undefined) return;
    try {
      writeFileSync(this.#file, JSON.stringify(this.#sessions), { mode: 0o600 });
    } catch {
      // Then they end with this program.
    }
  }
}

function hash(word: string): string {
  return createHash('sha256').update(word).digest('base64url');
}

function readSessions(file: string): string[] {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return Array.isArray(read) ? read.filter((one) => typeof one === 'string').slice(-MAX_SESSIONS) : [];
  } catch {
    return [];
  }
}
