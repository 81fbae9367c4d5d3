import { MoultError } from '../../errors.js';
import { reserve } from './descriptor-reserve.js';
import { descriptorRoom } from './descriptor-room.js';

/** Errors that tell of this process or the system and not of the file: it may open no more, or has no memory for it. */
const SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** Whether a file could not be read for want of descriptors or memory: then nothing is known of it, not even that it is gone. */
export function isShortage(error: unknown): boolean {
  return error instanceof Error && SHORTAGES.has(String((error as NodeJS.ErrnoException).code));
}

/**
 * An error as MOULT_DESCRIPTORS, where it or what caused it is that no more files can be opened; undefined for any other.
 * Whoever serves is left as it is.
 * @param what failed; none: what the error says.
 */
export function outOfDescriptors(error: unknown, what?: string): MoultError | undefined {
  const reason = reasonOf(error);
  if (reason === undefined || !(error instanceof Error)) return undefined;
  const limit = reserve.use(() => descriptorRoom(process.pid))?.limit;
  const of =
    reason === 'ENFILE'
      ? 'the system has no open files left (fs.file-max)'
      : `process ${process.pid} may open no more files${limit === undefined ? '' : ` than ${limit}`}`;
  return new MoultError('MOULT_DESCRIPTORS', `${what ?? error.message}: ${of}`, {
    serving: 'unchanged',
    cause: error,
  });
}

function reasonOf(error: unknown): 'EMFILE' | 'ENFILE' | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error instanceof MoultError && error.code === 'MOULT_DESCRIPTORS') return undefined;
  const { code } = error as NodeJS.ErrnoException;
  const reason = error instanceof MoultError ? error.details?.reason : code;
  return reason === 'EMFILE' || reason === 'ENFILE' ? reason : reasonOf(error.cause);
}
