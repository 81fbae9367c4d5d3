// What `npm test` prints: TAP as the tests end, and before the summary every failed test once more, because of a
// long output often only the end is kept.

import { tap } from 'node:test/reporters';
import { inspect } from 'node:util';

/** The longest error that is told again. */
const ERROR_CHARACTERS = 2000;

export default async function* reporter(source) {
  const failed = [];
  const summary = [];
  yield* tap(first(source, failed, summary));
  for (const { name, file, line, details } of failed) {
    yield `# failed: ${oneLine(name)} (${file ?? 'no file'}:${line ?? 0})\n`;
    yield `${comment(inspect(details.error?.cause ?? details.error).slice(0, ERROR_CHARACTERS))}\n`;
  }
  for await (const text of tap(summary)) if (!text.startsWith('TAP version')) yield text;
}

/** All but the summary, which is kept for the end. */
async function* first(source, failed, summary) {
  for await (const event of source) {
    if (event.type === 'test:fail' && !isOfItsTests(event.data)) failed.push(event.data);
    if (event.type === 'test:diagnostic' && event.data.nesting === 0) summary.push(event);
    else yield event;
  }
}

/** A suite fails because a test in it does, which is told itself. */
function isOfItsTests({ details }) {
  return details.error?.failureType === 'subtestsFailed';
}

function oneLine(text) {
  return text.replace(/\s+/g, ' ');
}

function comment(text) {
  return text.replace(/^/gm, '#   ');
}
