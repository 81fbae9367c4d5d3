// What a service is asked: each question gets its own answer, also one that is asked again meanwhile.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { localLine } from '#moult/channel/line.js';
import { ServiceQuestions } from '#moult/supervisor/process/service-questions.js';

/** A service that answers its looks when it is told to. */
function asked(): { questions: ServiceQuestions; answer: (name: string) => void } {
  const [near, far] = localLine();
  const questions = new ServiceQuestions({ number: 1, lifeline: near });
  questions.heed(near);
  let lookId = 0;
  far.on('look', ({ id }) => {
    lookId = id;
  });
  return {
    questions,
    answer: (name) => far.send({ type: 'looking', id: lookId, listeners: [name], closed: [] }),
  };
}

const nothing = () => {};

describe('a look that is announced again', () => {
  it('is answered although the time of the one before has passed', async () => {
    const { questions, answer } = asked();
    const first = questions.look([], nothing, 1);
    const second = questions.look([], nothing, 1000);
    await assert.rejects(first, { code: 'MOULT_PEER_TIMEOUT' });
    answer('a');
    assert.deepEqual((await second).listeners, ['a']);
  });

  it('gets the answer to itself, and the one before that to it', async () => {
    const { questions, answer } = asked();
    const both = [questions.look([], nothing, 1000), questions.look([], nothing, 1000)];
    // Announced by then.
    await Promise.resolve();
    answer('a');
    answer('b');
    const answers = await Promise.all(both);
    assert.deepEqual(
      answers.map(({ listeners }) => listeners),
      [['a'], ['b']],
    );
  });
});
