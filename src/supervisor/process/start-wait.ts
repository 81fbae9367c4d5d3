import type { GenerationProcess } from './generation-process.js';

/** What a first generation that has not come to serve waits for, as far as that is seen, and which option would help. */
export function whatItWaitsFor(first: GenerationProcess, isProgram: boolean): string {
  if (isProgram)
    return 'it has not sent READY=1 and has no socket of its own yet; --ready-after would make it ready after a time';
  if (first.lifeline === undefined)
    return 'no process of it has called listen() yet. A program that is not a Node service needs --program';
  if (first.settings.waitReady)
    return "it has not called process.send('ready'), which --wait-ready waits for";
  return 'it has called listen(), but is not listening yet';
}
