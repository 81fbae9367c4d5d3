/** The kinds of virtual clients, in the order in which reports list them. */
export const CLIENT_KINDS = ['kept-alive', 'pipelined', 'slow-body', 'new-connection'] as const;

/** One kind of virtual client. */
export type ClientKind = (typeof CLIENT_KINDS)[number];
