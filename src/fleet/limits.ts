/** A fleet may have so many hosts of one service. */
export const MAX_HOSTS = 2000;
/** A host may have so many labels. */
export const MAX_LABELS = 16;
/** A value in the bucket may have so many bytes; a roll of {@link MAX_HOSTS} hosts fits. */
export const MAX_VALUE_BYTES = 768 * 1024;
/** What a host tells of itself may have so many bytes. */
export const MAX_HOST_BYTES = 16 * 1024;
/** Numbers of rolls and epochs only grow; beyond this none can have grown. */
export const MAX_MARK = 2 ** 52;
/** What one host or the last leader claims counts below this: nothing that one of them writes can use up the numbers that are left. */
export const MOST_CLAIMED = MAX_MARK / 2;
/** How many rolls of one service are kept for `moult fleet history`. */
export const MAX_PAST_ROLLS = 50;
/** Who leads a roll, or follows one, hears within two and a half times so long that its server tells nothing any more. */
export const LEADING_HEARTBEAT_MS = 1000;
/** The version of what is in the buckets: a higher one is not understood here. */
export const FLEET_PROTOCOL = 1;
