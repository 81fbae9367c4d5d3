/** A fleet may have so many hosts of one service. */
export const MAX_HOSTS = 2000;
/** A host may have so many labels. */
export const MAX_LABELS = 16;
/** A value in the bucket may have so many bytes; a roll of {@link MAX_HOSTS} hosts fits. */
export const MAX_VALUE_BYTES = 768 * 1024;
/** What a host tells of itself may have so many bytes. */
export const MAX_HOST_BYTES = 16 * 1024;
/** How many rolls of one service are kept for `moult fleet history`. */
export const MAX_PAST_ROLLS = 50;
/** The version of what is in the buckets: a higher one is not understood here. */
export const FLEET_PROTOCOL = 1;
