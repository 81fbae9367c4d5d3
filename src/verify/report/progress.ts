import type { RestartOutcome } from '../moult/service-under-test.js';
import type { VerifyEvent } from '../verify.js';

/** One line for people about an event of a verification; undefined for events without one. */
export function progressLine(event: VerifyEvent): string | undefined {
  switch (event.type) {
    case 'load':
      return 'load begins, steady state first';
    case 'restarting':
      return undefined;
    case 'restarted': {
      const { restart, outcome } = event.record;
      const { failed, lost } = event.total;
      const found = `${event.total.requests.toLocaleString('en-US')} requests, ${failed} failed, ${lost} lost`;
      return `restart ${restart}/${event.of}: ${describeOutcome(outcome, event.record.endMs - event.record.beginMs)}; ${found}`;
    }
    case 'finishing':
      return 'finishing the requests in flight';
  }
}

/** What a restart did, in one phrase, such as "took over in 41 ms: 1 listener passed, 97 connections moved". */
export function describeOutcome(outcome: RestartOutcome, tookMs: number): string {
  if (!outcome.ok) {
    const { code, message } = outcome.error ?? { code: 'failed', message: 'for no told reason' };
    return `failed after ${Math.round(tookMs)} ms (${code}: ${message.split('\n', 1)[0]})`;
  }
  const { listeners, moved, draining, cut, longestPauseMs } = outcome.summary ?? {};
  const parts: string[] = [];
  if (listeners !== undefined) parts.push(`${listeners} listener${listeners === 1 ? '' : 's'} passed`);
  if (moved !== undefined) parts.push(`${moved} connection${moved === 1 ? '' : 's'} moved`);
  if (draining !== undefined && draining > 0) parts.push(`${draining} draining`);
  if (cut !== undefined && cut > 0) parts.push(`${cut} cut`);
  if (longestPauseMs !== undefined) parts.push(`longest pause ${Math.round(longestPauseMs)} ms`);
  const details = parts.length === 0 ? '' : `: ${parts.join(', ')}`;
  return `took over in ${Math.round(tookMs)} ms${details}`;
}
