import { basename } from 'node:path';

/** A path that holds a time of so long ago or less holds the time of its making. */
const RECENT_MS = 24 * 60 * 60 * 1000;

/**
 * Whether a path is for one process alone, as it holds that one's number, or the time in milliseconds at which it was made:
 * nobody can know it beforehand, and the next generation asks for another one. Tools such as tsx and forever speak to
 * their children by such a path.
 */
export function isForOneProcess(path: string, pid: number): boolean {
  const numbers = basename(path).match(/\d+/g) ?? [];
  const isTime = (number: string) => {
    const agoMs = Date.now() - Number(number.slice(0, 13));
    return number.length >= 13 && agoMs >= 0 && agoMs < RECENT_MS;
  };
  return numbers.some((number) => number === String(pid) || isTime(number));
}
