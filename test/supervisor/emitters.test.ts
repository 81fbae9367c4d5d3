import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
/** The supervisor, and the rooms of which it is made. */
const ROOMS = ['supervisor', 'channel', 'os', 'node', 'service-manager', 'programs'];
/** What makes something that may emit an error. */
const MAKES =
  /(?<![\w.])(spawn|fork|exec|execFile|createServer|createConnection|connectTls|request|createReadStream|createWriteStream|createSocket)\(|new (Socket|Server|Worker|WriteStream|ReadStream)\(/;
/** Where the listener is somebody else's: each with who has it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'supervisor/process/generation-process.ts: new Socket(': 'checks, which alone reach a generation',
  'channel/open.ts: new Socket(': 'Channel, which is made of it at once',
  'node/listening/own-accept.ts: new Socket(':
    'Channel, or the door that refuses; the vehicle never opens anything',
  'node/http/readable.ts: new Socket(': 'nobody: it is only the vehicle of a handle',
  'node/listening/accepted.ts: new Socket(': 'nobody: it is only the vehicle of a handle',
  'node/listening/listening-handle.ts: new Socket(': 'nobody: it is only the vehicle of a handle',
  'node/http/http1.ts: new Socket(': 'the server to which it is given at once; only services do',
};

interface Made {
  readonly where: string;
  readonly what: string;
  readonly around: string;
}

/** Every place that makes an emitter, with the function around it. */
function made(): Made[] {
  return ROOMS.flatMap((room) =>
    readdirSync(join(root, 'src', room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap((name) => {
        const text = readFileSync(join(root, 'src', room, name), 'utf8').replace(/^import .*?;$/gms, '');
        return functionsOf(text).flatMap((around) => {
          const what = MAKES.exec(withoutComments(around))?.[0];
          return what === undefined ? [] : [{ where: `${room}/${name}`, what, around }];
        });
      }),
  );
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
  const all = made();

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

  for (const { where, what, around } of all) {
    it(`has a listener for it: ${what} in ${where}`, () => {
      if (ELSEWHERE[`${where}: ${what}`] !== undefined) return;
      assert.match(around, /\.(on|once)\(\s*'error'/, around);
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
