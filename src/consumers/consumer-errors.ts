/**
 * What a consumer meets while it consumes, and nobody waits for: told to the service, or else as a warning.
 */
export type OnTrouble = (error: Error) => void;

/** Tells trouble to the service's own function, or as a warning of the process. */
export function tellError(name: string, onTrouble: OnTrouble | undefined, error: unknown): void {
  const trouble = error instanceof Error ? error : new Error(String(error));
  if (onTrouble !== undefined) queueMicrotask(() => onTrouble(trouble));
  else process.emitWarning(`${name}: ${trouble.message}`, 'MoultWarning');
}
