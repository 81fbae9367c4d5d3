import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { orderLeft } from '#moult/programs/kernel-order.js';

describe('the order in which the kernel counts sockets of one address', () => {
  it('stays while none closes', () => {
    assert.deepEqual(orderLeft([7, 5, 9], new Set([5, 7, 9])), [7, 5, 9]);
  });

  it('has the last in the place of the one that has closed', () => {
    assert.deepEqual(orderLeft([7, 5, 9], new Set([5, 9])), [9, 5]);
    assert.deepEqual(orderLeft([7, 5, 9], new Set([7, 5])), [7, 5]);
  });

  it('is no question where one is left, or none', () => {
    assert.deepEqual(orderLeft([7, 5, 9, 1, 2, 3, 4, 8], new Set([9])), [9]);
    assert.deepEqual(orderLeft([7, 5], new Set()), []);
  });

  it('is known where it is the same whichever closed first, and only there', () => {
    assert.deepEqual(orderLeft([1, 2, 3, 4], new Set([1, 2])), [1, 2]);
    // 1 first: 4 2 3, then without 2: 4 3. 2 first: 1 4 3, then without 1: 3 4.
    assert.equal(orderLeft([1, 2, 3, 4], new Set([3, 4])), undefined);
  });
});
