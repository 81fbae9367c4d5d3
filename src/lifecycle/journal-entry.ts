/** One line of the journal. */
export interface JournalEntry {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly event:
    | 'run'
    | 'start'
    | 'serving'
    | 'stage'
    | 'restart'
    | 'revived'
    | 'crashed'
    | 'confirmed'
    | 'undone'
    | 'listened'
    | 'unseen'
    | 'kept'
    | 'drained'
    | 'exited'
    | 'scale'
    | 'sockets'
    | 'stopping'
    | 'stop';
  readonly generation?: number;
  /** The slot that it is about, where the service has several. */
  readonly slot?: number;
  readonly epoch?: number;
  readonly [fact: string]: unknown;
}

/** A line as it is given to be written. */
export type JournalFact = Omit<JournalEntry, 'at'> & { readonly event: JournalEntry['event'] };
