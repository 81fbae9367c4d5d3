import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { assertDifferent, parseListen } from '#moult/programs/listen-option.js';

describe('--listen', () => {
  const all: [string, object][] = [
    ['8080', { family: 'tcp', host: '::', port: 8080, listener: 'tcp://*:8080', tag: null }],
    [
      '127.0.0.1:80',
      { family: 'tcp', host: '127.0.0.1', port: 80, listener: 'tcp://127.0.0.1:80', tag: null },
    ],
    ['api=[::1]:81', { family: 'tcp', host: '::1', port: 81, listener: 'tcp://[::1]:81', tag: 'api' }],
    ['udp:0.0.0.0:53', { family: 'udp', host: '0.0.0.0', port: 53, listener: 'udp://0.0.0.0:53', tag: null }],
    ['dns=udp:53', { family: 'udp', host: '::', port: 53, listener: 'udp://[::]:53', tag: 'dns' }],
    ['unix:/run/x.sock', { family: 'unix', path: '/run/x.sock', listener: 'unix:/run/x.sock', tag: null }],
    ['unix:x=1.sock', { family: 'unix', path: '/srv/x=1.sock', listener: 'unix:/srv/x=1.sock', tag: null }],
  ];
  for (const [written, option] of all) {
    it(`reads ${written}`, () => assert.deepEqual(parseListen(written, '/srv'), option));
  }

  for (const wrong of [
    '',
    'localhost:80',
    '127.0.0.1',
    '1.2.3.4:65536',
    'unix:',
    'unix:@x',
    '::1:80',
    'a b=80',
    '80/tcp',
  ]) {
    it(`does not take ${wrong || 'nothing'}`, () => {
      assert.throws(
        () => parseListen(wrong, '/'),
        (error: MoultError) => error.code === 'MOULT_BAD_OPTION',
      );
    });
  }

  it('does not take the same twice', () => {
    const both = ['a=80', 'b=[::]:80'].map((written) => parseListen(written, '/'));
    assert.throws(() => assertDifferent(both), MoultError);
  });
});
