import type { FailureReason } from '../tally/failure.js';
import type { RequestBody } from './request.js';
import type { ParsedResponse } from './response-parser.js';

/**
 * How answers are checked: `plain` takes any whole response below 500, `echo` wants our fixtures' JSON
 * `{id, generation, n, bytes, sha1}` with status 200.
 */
export type AnswerCheck = 'plain' | 'echo';

/** What a checked answer says. */
export type Answer =
  | { readonly ok: true; readonly generation: string | undefined }
  | {
      readonly ok: false;
      readonly reason: FailureReason;
      readonly detail: string;
      /** The id that the answer carries, if it is another than the expected. */
      readonly foreignId: string | undefined;
      readonly generation: string | undefined;
    };

/** Checks one whole response against the request that it must answer; never throws. */
export function checkAnswer(
  check: AnswerCheck,
  response: ParsedResponse,
  expected: { readonly id: string; readonly body: RequestBody },
): Answer {
  if (response.status >= 500) return bad('status-5xx', `status ${response.status}`);
  if (response.status === 408) return bad('status-408', 'the service never got the whole request');
  if (check === 'plain') return { ok: true, generation: undefined };
  if (response.status !== 200) return bad('bad-response', `status ${response.status}`);
  const echo = readEcho(response);
  if (echo === undefined) return bad('bad-response', 'the body is not the JSON of the echo protocol');
  const { id, generation } = echo;
  if (id !== expected.id) return { ...bad('wrong-id', `the answer to ${id}`), foreignId: id, generation };
  if (echo.bytes !== expected.body.data.length) {
    const detail = `${expected.body.data.length} bytes sent, ${echo.bytes} read`;
    return { ...bad('wrong-body', detail), generation };
  }
  if (echo.bytes > 0 && echo.sha1 !== expected.body.sha1) {
    return { ...bad('wrong-body', 'the checksum differs'), generation };
  }
  return { ok: true, generation };
}

/** The id that an answer of the echo protocol carries, if it is one. */
export function echoedId(response: ParsedResponse): string | undefined {
  return readEcho(response)?.id;
}

interface Echo {
  readonly id: string;
  readonly generation: string;
  readonly bytes: number;
  readonly sha1: string;
}

function readEcho(response: ParsedResponse): Echo | undefined {
  let value: unknown;
  try {
    value = JSON.parse(response.body.toString());
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, generation, bytes, sha1 } = value as Partial<Record<string, unknown>>;
  if (typeof id !== 'string') return undefined;
  return {
    id,
    generation: String(generation ?? '?'),
    bytes: typeof bytes === 'number' ? bytes : 0,
    sha1: typeof sha1 === 'string' ? sha1 : '',
  };
}

function bad(reason: FailureReason, detail: string) {
  return { ok: false as const, reason, detail, foreignId: undefined, generation: undefined };
}
