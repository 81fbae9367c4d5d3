/** Who serves in a slot of a service, as its supervisor sees it: the states of the table in `service-states.ts`. */
export type ServiceState =
  | 'empty'
  | 'starting'
  | 'serving'
  | 'replacing'
  | 'probation'
  | 'undoing'
  | 'resuming'
  | 'waiting'
  | 'reviving'
  | 'changing-over'
  | 'arriving'
  | 'arrived'
  | 'giving-back'
  | 'passing'
  | 'passed'
  | 'orphaned'
  | 'leaving'
  | 'stopping'
  | 'stopped';

/**
 * What happens to a service. The same end of a process means different things: which event it is, is decided where it is
 * noticed, by what is known of the process.
 */
export type ServiceEvent =
  /** A generation is started that follows nobody that serves. */
  | 'start'
  /** An earlier supervisor has left a generation, which has yet to come back. */
  | 'adopt'
  /** A generation accepts, and there is nobody to go back to. */
  | 'serves'
  /** A generation accepts, and its predecessor can resume. */
  | 'commits'
  /** A predecessor that can resume has come back. */
  | 'resumable'
  /** A restart has begun: the one that serves expects its successor. */
  | 'replace'
  /** The one that serves was told to leave before its successor begins: they cannot pass descriptors. */
  | 'give-way'
  /** A restart has failed before its successor accepted. */
  | 'failed'
  /** The one that serves was told to end; then its successor is started. */
  | 'change-over'
  /** A predecessor has reported that its successor is confirmed. */
  | 'confirmed'
  /** A predecessor was told to take the service back. */
  | 'undo'
  /** A predecessor has reported that it serves again. */
  | 'undone'
  /** The successor that was to hand back serves on: its predecessor has ended. */
  | 'keeps'
  /** The one that served has ended by its own will. */
  | 'done'
  /** The one that served has ended, and nobody follows by itself. */
  | 'crashed'
  /** The one that served has ended before it committed: its successor follows when it is ready. */
  | 'crashed-with-heir'
  /** The one that served has ended, and its predecessor resumes. */
  | 'crashed-in-probation'
  /** A predecessor that could have resumed has ended. */
  | 'predecessor-ended'
  /** The first generation of a service has ended before it served. */
  | 'first-ended'
  /** The one that was started after a crash has ended before it served. */
  | 'revival-ended'
  /** A generation has ended, none is starting, and none could resume. */
  | 'last-ended'
  /** Another one has ended, such as one that drained. */
  | 'other-ended'
  /** Something else has found that none starts, and none could resume. */
  | 'nobody-left'
  /** The pause after a crash is over: the last good release is started. */
  | 'retry'
  /** This supervisor takes over from another one. */
  | 'arrive'
  /** The service cannot go back to the other supervisor any more. */
  | 'settled'
  /** Another supervisor takes over. */
  | 'offer'
  /** Its successor accepts. */
  | 'handed-on'
  /** It has not taken over. */
  | 'not-taken'
  /** The one that serves has ended while another supervisor's successor was to follow. */
  | 'crashed-in-passing'
  /** The other supervisor is gone, and so is the one that served. */
  | 'heir-lost'
  /** The service is another supervisor's. */
  | 'leave'
  /** The service, or this slot of it, is to end. */
  | 'stop'
  /** Nothing of it is left to end. */
  | 'finish';

/** What the supervisor does about an event. */
export type ServiceAction =
  /** Starts the last good release, later and later while it keeps crashing. */
  | 'revive'
  /** Notes the crash; the successor begins when it is ready. */
  | 'await-heir'
  /** Nothing: the predecessor says itself that it serves. */
  | 'await-predecessor'
  /** Asks the successor that was to hand back whether it has: the predecessor may have served already, and not said so. */
  | 'ask-successor'
  /** Ends those that were started to follow the one that was undone. */
  | 'call-off'
  /** Has the one that serves again leave: another supervisor's follows already. */
  | 'retire'
  /** Ends the supervisor, with the exit code of the service. */
  | 'end'
  /** Stops the service: it is over. */
  | 'stop'
  /** Nobody serves: the next one is started when all of it has ended. */
  | 'await-end';
