import { asMoultError, type MoultError } from '../errors.js';
import { paint } from '../terminal/paint.js';
import { printJson, tell } from '../terminal/print.js';
import { visibleLine } from '../terminal/visible.js';

/**
 * Tells a failure on stderr: what happened, who serves now, what to do, the successor's last output.
 * @returns the exit status: 2 for bad usage, 1 for everything else.
 */
export function reportFailure(error: unknown, asJson: boolean): number {
  const told = asMoultError(error, 'MOULT_SYSTEM_CALL');
  if (asJson) printJson({ type: 'result', ok: false, error: told.report() });
  else tell(failureText(told));
  return told.code === 'MOULT_BAD_OPTION' ? 2 : 1;
}

/** A failure for people. @param isOutputSeen whether the last output of what failed is on the screen already. */
export function failureText(error: MoultError, isOutputSeen = false): string {
  // Further lines of a message are indented: none can pass for a line of ours.
  const message = error.message.trimEnd().split('\n').join('\n    ');
  const lines = [`${paint.red('✗')} ${message} ${paint.dim(`(${error.code})`)}`];
  const output = error.details?.output;
  if (Array.isArray(output) && output.length > 0 && !isOutputSeen) {
    lines.push(
      '',
      paint.dim('  its last output:'),
      ...output.map((line) => `  ${paint.dim('│')} ${visibleLine(String(line).replace(/\r$/, ''))}`),
      '',
    );
  }
  if (error.stage !== undefined) lines.push(`  stage:       ${visibleLine(error.stage)}`);
  if (error.serving !== 'unchanged') lines.push(`  serving now: ${servingText(error.serving)}`);
  lines.push(`  what to do:  ${error.remedy}`);
  return lines.join('\n');
}

function servingText(serving: string): string {
  switch (serving) {
    case 'predecessor':
      return 'the predecessor, as before';
    case 'successor':
      return 'the successor';
    case 'none':
      return 'no generation; clients wait at each listener that is still open';
    default:
      return visibleLine(serving);
  }
}
