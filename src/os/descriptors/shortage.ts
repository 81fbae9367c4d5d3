/** Errors that tell of this process or the system and not of the file: it may open no more, or has no memory for it. */
const SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether a file could not be read for want of descriptors or memory: then nothing is known of it, not even that it is gone. */
export function isShortage(error: unknown): boolean {
  return error instanceof Error && SHORTAGES.has(String((error as NodeJS.ErrnoException).code));
}
