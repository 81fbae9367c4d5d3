import { isNodeCommand, type ServiceCommand } from '../../supervisor/releases/release.js';
import { visibleLine } from '../../terminal/visible.js';

const SCRIPT = /\.[cm]?[jt]sx?$/;

/**
 * What to say where options of moult stand behind the script: there they are the service's, whatever was meant.
 * @param given the words of the command line behind `run`.
 * @param options the long options of moult, such as `--name`.
 * @returns undefined where there are none, or a `--` before the command says that it is meant so.
 */
export function optionsAfter(
  service: ServiceCommand,
  given: readonly string[],
  options: readonly string[],
): string | undefined {
  const { words } = service;
  if (given[given.length - words.length - 1] === '--') return undefined;
  // Before its script, options are Node's own.
  const script =
    isNodeCommand(service) && !SCRIPT.test(words[0] ?? '') ? words.findIndex((word) => SCRIPT.test(word)) : 0;
  const end = words.indexOf('--');
  const behind = script < 0 ? [] : words.slice(script + 1, end < 0 ? undefined : end);
  const known = new Set(options);
  const ours = [...new Set(behind.map((word) => word.split('=', 1)[0] ?? ''))].filter((word) =>
    known.has(word),
  );
  if (ours.length === 0) return undefined;
  const [what, them] = ours.length === 1 ? ['stands', 'it'] : ['stand', 'them'];
  const name = visibleLine(words[script] ?? '');
  return (
    `${ours.join(', ')} ${what} after the script and so went to the service: ` +
    `to give ${them} to moult, put ${them} before ${name}; if the service wants ${them}, put -- before ${name}`
  );
}
