import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cookieIn, cookieOfHead, MAX_HEAD_BYTES } from '#moult/sticky/cookie.js';
import fc from '../support/fast-check.js';

const HEAD = 'GET /a?sid=no HTTP/1.1\r\nHost: a\r\nX-Cookie: sid=no\r\nCOOKIE: a=b; sid=yes; c\r\n\r\n';
const ofHead = (text: string) => cookieOfHead(Buffer.from(text, 'latin1'), 'sid');

describe('a cookie', () => {
  it('is found among others, by its whole name', () => {
    assert.equal(cookieIn('a=b; sid=7=8 ; c=d', 'sid'), '7=8');
    assert.equal(cookieIn('xsid=1; sidx=2; sid', 'sid'), undefined);
    assert.equal(cookieIn('sid=; sid=2', 'sid'), '2');
    assert.equal(cookieIn('', 'sid'), undefined);
  });

  it('is found in a head as soon as that is whole, whatever follows', () => {
    assert.deepEqual(ofHead(HEAD), { value: 'yes' });
    assert.deepEqual(ofHead(`${HEAD}Cookie: sid=body\r\n\r\n`), { value: 'yes' });
    assert.deepEqual(ofHead('POST / HTTP/1.1\r\nHost: a\r\n\r\nCookie: sid=body\r\n\r\n'), {
      value: undefined,
    });
    for (let length = 0; length < HEAD.length; length += 1)
      assert.equal(ofHead(HEAD.slice(0, length)), 'more', `${length} bytes`);
  });

  it('is not waited for where there is no HTTP/1.1, or a head that is too long', () => {
    assert.deepEqual(cookieOfHead(Buffer.from([0x16, 3, 1, 2, 0, 1]), 'sid'), { value: undefined });
    assert.deepEqual(ofHead('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), { value: undefined });
    assert.deepEqual(ofHead(`GET / HTTP/1.1\r\nA: ${'a'.repeat(MAX_HEAD_BYTES)}`), { value: undefined });
  });

  it('is looked for in anything without harm', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), (bytes, name) => {
        const found = cookieOfHead(Buffer.from(bytes), name);
        assert.ok(found === 'more' || found.value === undefined || found.value !== '');
      }),
    );
  });
});
