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
/** At most this many reasons are told why connections remain. */
export const MAX_REASONS = 10;
/** Characters of a reason that travel; it may hold what a service threw. */
export const MAX_REASON = 256;
/** Of at most this many connections that still end with a generation one message tells. */
export const MAX_DRAINING = 50;
/** At most this many connections that were cut are named in a report. */
export const MAX_CUT = 1000;
/** At most this many descriptors travel with one record. Source: SCM_MAX_FD, Linux include/net/scm.h. */
export const MAX_DESCRIPTORS = 253;
/** At most this many processes may share one service. */
export const MAX_SLOTS = 64;
