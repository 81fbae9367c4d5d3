import pc from 'picocolors';

/** The look of every table: dim borders where there are colours, none elsewhere. */
export const plainTable = { style: { head: [], border: pc.isColorSupported ? ['dim'] : [] } };
