import { withColours } from './paint.js';
import { type Screen, screenOf, type TextStream } from './screen.js';
import { asciiOnly, visible, visibleJson } from './visible.js';

/** A text as this screen takes it: with colours where it has them, and nothing else that a terminal would obey. */
export function rendered(text: string, screen: Screen): string {
  return withColours(text, screen.colours, (part) =>
    screen.unicode ? visible(part) : asciiOnly(visible(part)),
  );
}

/** Writes text for people, ending with a line end. All that moult says to people goes through here. */
export function print(text: string, stream: TextStream = process.stdout): void {
  stream.write(`${rendered(text, screenOf(stream))}\n`);
}

/** Writes text for people to stderr: what went wrong, and progress. */
export function tell(text: string): void {
  print(text, process.stderr);
}

/** Writes a line of JSON for programs. On a terminal the same value is written without characters that it would obey. */
export function printJson(value: unknown, stream: TextStream = process.stdout): void {
  const json = JSON.stringify(value);
  stream.write(`${stream.isTTY === true ? visibleJson(json) : json}\n`);
}

/** Clears the terminal, to show something anew at its top. */
export function clearScreen(stream: TextStream = process.stdout): void {
  if (screenOf(stream).live) stream.write('\x1b[H\x1b[2J');
}

/**
 * Has the end of whoever reads this process's output end nothing else: what is written then is dropped. Another failure,
 * such as a full disk, is told once, and makes the exit status 1.
 * @param onLost is called when nobody reads stdout any more.
 */
export function outliveReader(onLost: () => void = () => {}): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') {
      process.exitCode ||= 1;
      tell(`moult: the output could not be written: ${error.message}`);
    }
    onLost();
  });
  process.stderr.on('error', () => {});
}
