/** At most this many pieces of state may one service have. */
export const MAX_PIECES = 1000;
/** At most this many tasks may one service have. */
export const MAX_TASKS = 1000;
