import pc from 'picocolors';
import { asMoultError, type MoultError } from '../errors.js';

/**
 * Tells a failure on stderr: what happened, who serves now, what to do, the successor's last output.
 * @returns the exit status: 2 for bad usage, 1 for everything else.
 */
export function reportFailure(error: unknown, asJson: boolean): number {
  const told = asMoultError(error, 'MOULT_SYSTEM_CALL');
  if (asJson)
    process.stdout.write(`${JSON.stringify({ type: 'result', ok: false, error: told.report() })}\n`);
  else process.stderr.write(`${failureText(told)}\n`);
  return told.code === 'MOULT_BAD_OPTION' ? 2 : 1;
}

/** A failure for people. */
export function failureText(error: MoultError): string {
  const lines = [`${pc.red('✗')} ${error.message} ${pc.dim(`(${error.code})`)}`];
  const output = error.details?.output;
  if (Array.isArray(output) && output.length > 0) {
    lines.push(
      '',
      pc.dim('  its last output:'),
      ...output.map((line) => `  ${pc.dim('│')} ${String(line)}`),
      '',
    );
  }
  if (error.stage !== undefined) lines.push(`  stage:       ${error.stage}`);
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
      return 'nobody; clients wait in the backlog while the supervisor lives';
    default:
      return serving;
  }
}
