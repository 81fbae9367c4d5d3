import { deserialize } from 'node:v8';
import type { Channel } from '../channel/channel.js';
import type { Tasks } from './tasks.js';

/** The tasks that go on with what a slot that ends leaves behind: those that have their work in parts, timers and jobs. */
export function passable(tasks: Tasks): string[] {
  return tasks.all().flatMap(({ name, runner }) => (runner.parts === undefined ? [] : [name]));
}

/** Takes what a slot that ends leaves behind, besides what this generation has of its own. */
export function takePassed(channel: Channel, tasks: Tasks): void {
  const begun = new Map<string, Buffer[]>();
  channel.on('task-given', ({ name, goesOn }, { attachment }) => {
    const parts = [...(begun.get(name) ?? []), attachment];
    if (goesOn) begun.set(name, parts);
    else {
      begun.delete(name);
      const data: unknown = deserialize(parts.length === 1 ? attachment : Buffer.concat(parts));
      if (data !== undefined) tasks.get(name)?.receive(data);
    }
    // The giver may end when it has heard this of all.
    channel.send({ type: 'task-read', bytes: attachment.length });
  });
}
