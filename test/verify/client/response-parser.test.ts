import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ParsedResponse,
  ResponseParser,
  ResponseSyntaxError,
} from '#moult/verify/client/response-parser.js';

interface Read {
  readonly responses: ParsedResponse[];
  readonly parser: ResponseParser;
}

function read(pieces: readonly string[], head = false): Read {
  const responses: ParsedResponse[] = [];
  const parser = new ResponseParser({
    head,
    keepBody: true,
    onResponse: (response) => responses.push(response),
  });
  for (const piece of pieces) parser.push(Buffer.from(piece, 'latin1'));
  return { responses, parser };
}

function summary(responses: readonly ParsedResponse[]): string[] {
  return responses.map((response) => `${response.status} ${response.body.toString('latin1')}`);
}

const STREAM =
  'HTTP/1.1 100 Continue\r\n\r\n' +
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello' +
  'HTTP/1.1 204 No Content\r\n\r\n' +
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nchun\r\n3\r\nked\r\n0\r\nX-Trailer: 1\r\n\r\n' +
  'HTTP/1.1 304 \r\nContent-Length: 99\r\n\r\n' +
  'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';
const WANTED = ['200 hello', '204 ', '200 chunked', '304 ', '404 '];

describe('the response parser', () => {
  it('reads pipelined responses of all framings in one piece', () => {
    const { responses, parser } = read([STREAM]);
    assert.deepEqual(summary(responses), WANTED);
    assert.deepEqual(
      responses.map((response) => response.closes),
      [false, false, false, false, true],
    );
    assert.equal(responses[0]?.headers.get('x-a'), 'b');
    assert.equal(parser.finish(), true);
  });

  it('reads the same, split at every byte offset and byte by byte', () => {
    for (let at = 1; at < STREAM.length; at += 1) {
      assert.deepEqual(summary(read([STREAM.slice(0, at), STREAM.slice(at)]).responses), WANTED, `at ${at}`);
    }
    assert.deepEqual(summary(read([...STREAM]).responses), WANTED);
  });

  it('says of every cut whether it falls between two responses', () => {
    const whole = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n';
    for (let at = 0; at <= whole.length; at += 1) {
      const { parser, responses } = read([whole.slice(0, at)]);
      assert.equal(parser.finish(), at === 0 || at === whole.length, `at ${at}`);
      assert.equal(responses.length, at === whole.length ? 1 : 0);
    }
  });

  it('completes a body without length only when the connection ends', () => {
    const { responses, parser } = read(['HTTP/1.1 200 OK\r\n\r\nall ', 'of it']);
    assert.equal(responses.length, 0);
    assert.equal(parser.finish(), true);
    assert.deepEqual(summary(responses), ['200 all of it']);
    assert.equal(responses[0]?.closes, true);
  });

  it('takes the answer to HEAD as whole after its head', () => {
    const { responses } = read(['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'], true);
    assert.equal(responses.length, 2);
  });

  it('takes HTTP/1.0 as closing unless it says keep-alive', () => {
    const { responses } = read([
      'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n',
    ]);
    assert.deepEqual(
      responses.map((response) => response.closes),
      [false, true],
    );
  });

  it('counts a body that it does not keep', () => {
    const responses: ParsedResponse[] = [];
    const parser = new ResponseParser({ onResponse: (response) => responses.push(response) });
    parser.push(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc'));
    assert.equal(responses[0]?.bodyBytes, 3);
    assert.equal(responses[0]?.body.length, 0);
  });

  it('reads nothing more after stop(), not even the rest of the piece', () => {
    const seen: number[] = [];
    const parser: ResponseParser = new ResponseParser({
      onResponse: (response) => {
        seen.push(response.status);
        parser.stop();
      },
    });
    parser.push(Buffer.from(STREAM));
    assert.deepEqual(seen, [200]);
  });

  const malformed: Record<string, string> = {
    'another protocol': 'SSH-2.0-OpenSSH',
    'HTTP/2': 'HTTP/2 200 OK\r\n',
    'a status of two digits': 'HTTP/1.1 20 OK\r\n',
    'an empty line first': '\r\nHTTP/1.1 200 OK\r\n',
    'a bare line feed': 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n',
    'a bare carriage return': 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n',
    'a folded header': 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'a space before the colon': 'HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n',
    'a negative length': 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
    'a length beside chunked': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'an unknown encoding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
    'a chunk size that is no number': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
    'a chunk longer than its size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n',
    'a malformed trailer': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n',
    'a switch of protocols': 'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'a head without end': `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(70_000)}`,
  };
  for (const [what, text] of Object.entries(malformed)) {
    it(`refuses ${what}`, () => {
      assert.throws(() => read([text]), ResponseSyntaxError);
    });
  }
});
