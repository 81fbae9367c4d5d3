/** At most this many pieces of state may one service have. */
export const MAX_PIECES = 1000;
/** At most this many tasks may one service have. */
export const MAX_TASKS = 1000;
/** At most this many broadcast messages travel in one frame. */
export const MAX_BROADCASTS = 256;
/** Of at most this many senders one message tells how far their broadcasts have come. */
export const MAX_HEARD = 1024;
/** In at most this many classes are durations of requests counted. */
export const MAX_DURATIONS = 32;
