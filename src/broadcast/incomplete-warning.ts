/** Warns that clients may lack broadcast messages, or of what must be mended for that not to happen. */
export function warnIncomplete(message: string): void {
  process.emitWarning(message, { type: 'MoultWarning', code: 'MOULT_BROADCAST_INCOMPLETE' });
}
