import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sourceOf, supervisorFiles } from '../support/supervisor-files.js';

/** What makes something that may emit an error. */
const MAKES =
  /(?<![\w.])(spawn|fork|exec|execFile|createServer|createConnection|connect(?!\((?:fd|int)\b)|connectTls|request|createReadStream|createWriteStream|createSocket)\(|new (Socket|Server|Worker|WriteStream|ReadStream)\(/;
/** Where the listener is somebody else's: each with who has it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'supervisor/process/generation-process.ts: new Socket(': 'checks, which alone reach a generation',
  'channel/open.ts: new Socket(': 'Channel, which is made of it at once',
  'node/listening/own-accept.ts: new Socket(':
    'Channel, or the door that refuses; the vehicle never opens anything',
};

interface Made {
  readonly where: string;
  readonly what: string;
  readonly around: string;
}

/** Every place of a file that makes an emitter, with the function around it. */
function madeIn(where: string, source = sourceOf(where)): Made[] {
  const text = source.replace(/^import .*?;$/gms, '');
  return functionsOf(text).flatMap((around) => {
    const what = MAKES.exec(withoutComments(around))?.[0];
    return what === undefined ? [] : [{ where, what, around }];
  });
}

function hasListener({ around }: Made): boolean {
  return /\.(on|once)\(\s*'error'/.test(around);
}

/** The functions and methods of a file: what begins at its margin, or at that of a class, to the brace that ends it. */
function functionsOf(text: string): string[] {
  const ofFile = text.split(/\n(?=(?:export |async |function |class |const )\S)/);
  return ofFile.flatMap((part) =>
    /^(export )?(abstract )?class /.test(part) ? part.split(/\n {2}\}\n/) : [part],
  );
}

function withoutComments(text: string): string {
  return text.replace(/\/\*.*?\*\/|\/\/[^\n]*$/gms, '');
}

describe('what may emit an error in the supervisor', () => {
  const all = supervisorFiles().flatMap((file) => madeIn(file));

  it('is found by this test', () => {
    const files = new Set(all.map(({ where }) => where));
    for (const where of [
      'supervisor/restart/health-check.ts',
      'os/processes/launch.ts',
      'channel/open.ts',
      'node/listening/own-accept.ts',
    ])
      assert.ok(files.has(where), where);
  });

  it('is found in each room, where one is planted that nobody listens to', () => {
    const rooms = new Map(supervisorFiles().map((file) => [file.split('/')[0], file]));
    for (const file of rooms.values()) {
      for (const planted of [
        "function planted(): void {\n  spawn('x', []).unref();\n}",
        'const planted = () => {\n  const server = createServer();\n  server.listen(0);\n};',
        'export function planted(): Socket {\n  return new Socket({ fd: 5 });\n}',
        "async function planted(): Promise<void> {\n  connect('x').end();\n}",
        "class Planted {\n  begin(): void {\n    createReadStream('x').resume();\n  }\n}",
      ]) {
        const alone = (text?: string) => madeIn(file, text).filter((one) => !hasListener(one)).length;
        assert.equal(alone(`${sourceOf(file)}\n${planted}\n`), alone() + 1, `${planted} in ${file}`);
      }
    }
  });

  for (const { where, what, around } of all) {
    it(`has a listener for it: ${what} in ${where}`, () => {
      if (ELSEWHERE[`${where}: ${what}`] !== undefined) return;
      assert.ok(hasListener({ where, what, around }), around);
    });
  }

  it('is listened to elsewhere only where it is made', () => {
    for (const place of Object.keys(ELSEWHERE))
      assert.ok(
        all.some(({ where, what }) => `${where}: ${what}` === place),
        place,
      );
  });
});
