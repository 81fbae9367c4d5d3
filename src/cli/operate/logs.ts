import { statSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { assertNotPlanted } from '../../channel/private-folder.js';
import { asMoultError, MoultError } from '../../errors.js';
import { keptFiles } from '../../logs/kept-output.js';
import { KeptReader, type ReadLine } from '../../logs/kept-reader.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { leftText, type Reopened } from '../../supervisor/output/output-reopening.js';
import { lineForPeople } from '../../terminal/log-line.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson, tell } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask } from '../services/control.js';
import { meantServices } from '../services/meant-services.js';
import { leftServices, runningServices } from '../services/services.js';

/** How often to look for more. */
const LOOK_MS = 200;

interface Flags {
  readonly follow?: true;
  readonly generation?: number;
  readonly lines: number;
  readonly reopen?: true;
  readonly json?: true;
}

/** The command `moult logs`: the recent output of a service and its supervisor, also when that is gone. */
export function logsCommand(): Command {
  return new Command('logs')
    .description('show the recent output of a service and of moult')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option('-f, --follow', 'keep printing new output until the service ends')
    .option('--generation <n>', 'that of this generation only', number)
    .option('--lines <n>', 'how many of the last lines to print', number, 100)
    .option('--reopen', 'reopen the file of --output instead, after it was moved')
    .option('--json', 'print each line, or the result of --reopen, as JSON')
    .action(async (name: string | undefined, flags: Flags) => {
      if (flags.reopen === true) return reopen(name, flags);
      const readers = (await keptFolders(name)).map((folder) => new Shown(folder, flags));
      // Of several services one after another, but what comes then as it comes.
      for (const reader of readers) reader.first(readers.length > 1);
      if (flags.follow === true) await Promise.all(readers.map((reader) => reader.follow()));
    });
}

async function reopen(name: string | undefined, { json }: Flags): Promise<void> {
  const { folders } = await meantServices(name, true);
  for (const folder of folders) {
    const value = (await ask(folder, { type: 'reopen-output' })) as unknown as Reopened;
    if (json === true) printJson({ type: 'result', ok: true, ...value });
    else {
      print(`${paint.green('✓')} ${visibleLine(folder.name)}: ${visibleLine(value.file)} was reopened`);
      if (value.left.length > 0) tell(leftText(value.left));
    }
  }
}

/** Without a supervisor, too: what it has left says what happened. @throws why no service was found, where nothing is kept. */
async function keptFolders(name: string | undefined): Promise<readonly RunFolder[]> {
  try {
    return (await meantServices(name, true)).folders;
  } catch (error) {
    const names =
      name === undefined ? leftServices(await runningServices()).map((left) => left.name) : [name];
    const folders = names.map((one) => new RunFolder(one));
    for (const { path } of folders) assertNotPlanted(path);
    const kept = folders.filter(({ path }) => holdsLines(path));
    if (kept.length === 0) throw error;
    tell(asMoultError(error, 'MOULT_NOT_RUNNING').message);
    return kept;
  }
}

function holdsLines(folder: string): boolean {
  // One that may have gone meanwhile is none.
  return keptFiles(folder).some(({ path }) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0);
}

/** The kept output of one service, as it is shown. */
class Shown {
  readonly #folder: RunFolder;
  readonly #flags: Flags;
  readonly #reader: KeptReader;

  constructor(folder: RunFolder, flags: Flags) {
    this.#folder = folder;
    this.#flags = flags;
    this.#reader = new KeptReader(folder.path, flags.generation);
  }

  /** Shows the last lines. */
  first(isOneOfSeveral: boolean): void {
    const { generation, lines, json } = this.#flags;
    const all = this.#reader.read();
    if (generation !== undefined && all.length === 0) throw this.#nothingOf(generation);
    if (isOneOfSeveral && json !== true) print(paint.bold(visibleLine(this.#folder.name)));
    this.#show(lines === 0 ? [] : all.slice(-lines));
  }

  /** Shows what comes, until the service has ended and its folder is gone. */
  async follow(): Promise<void> {
    const isThere = () => keptFiles(this.#folder.path).length > 0;
    for (let was = true; was; ) {
      was = isThere();
      this.#show(this.#reader.read());
      if (was) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    tell(`${visibleLine(this.#folder.name)} has ended`);
  }

  #show(lines: readonly ReadLine[]): void {
    for (const { generation, at, stream, text } of lines) {
      const whose = generation === 'moult' ? null : generation;
      if (this.#flags.json === true)
        printJson({ name: this.#folder.name, at, generation: whose, stream, text });
      else
        print(`${paint.dim(`${clock(at)} ${whose ?? 'moult'}`)} ${visibleLines(text, stream === 'moult')}`);
    }
  }

  #nothingOf(generation: number): MoultError {
    const known = keptFiles(this.#folder.path)
      .flatMap((one) => (one.generation === 'moult' ? [] : one.generation))
      .sort((a, b) => a - b);
    const has = known.length === 0 ? 'none is kept' : `kept are those of ${known.join(', ')}`;
    return new MoultError('MOULT_BAD_OPTION', `no output of generation ${generation} is kept; ${has}`);
  }
}

function visibleLines(text: string, isLog: boolean): string {
  const line = text.replace(/\r$/, '');
  if (!isLog) return visibleTabs(line);
  try {
    return lineForPeople(line).replace(/: moult: /, ' ');
  } catch {
    return visibleLine(line);
  }
}

// A tab moves nothing but the place on the line.
function visibleTabs(line: string): string {
  return line.split('\t').map(visibleLine).join('\t');
}

/** The time of day here: `14:05:09.120`. */
function clock(at: number): string {
  const date = new Date(at);
  const two = (n: number, digits = 2) => String(n).padStart(digits, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${two(date.getMilliseconds(), 3)}`;
}

function number(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`Expected a whole number, received "${text}".`);
}
