/*
 * Over 300 lines: the one table of messages. Every message of the protocol, one schema each. Unknown fields are ignored, so that a later minor
 * version may add some; unknown types are an error. docs/protocol.md says what each of them means.
 */
import * as v from 'valibot';
import type { Frame } from './frame.js';
import {
  MAX_BROADCASTS,
  MAX_CUT,
  MAX_DESCRIPTORS,
  MAX_DRAINING,
  MAX_DURATIONS,
  MAX_HEARD,
  MAX_PIECES,
  MAX_REASON,
  MAX_REASONS,
  MAX_SLOTS,
  MAX_TASKS,
} from './limits.js';
import {
  count,
  errorReport,
  event,
  greeting,
  ms,
  parsedBy,
  part,
  refused,
  result,
  text,
  whole,
} from './operator-messages.js';

/** At most this many listeners may one service have. */
export const MAX_LISTENERS = 65_536;
/** At most this many names of flows travel in one message; so many of 256 characters fit into its JSON. */
export const MAX_FLOW_KEYS = 512;
/** At most this many datagrams travel in one message. */
export const MAX_DATAGRAMS = 256;
/** At most this many worker threads of one process may listen. */
export const MAX_THREADS = 256;
/** At most this many kinds of connections may be declared movable for one listener. */
export const MAX_MOVERS = 64;

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(512));
const path = text(4096);
const names = v.pipe(v.array(name), v.maxLength(MAX_LISTENERS));
const moverName = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const pieceName = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

/** How a listener travels: the descriptor goes beside the message, in the order of the list. */
const listener = v.object({
  name,
  family: v.picklist(['tcp', 'unix', 'udp', 'file']),
  backlog: count,
  /** The path of a Unix listener, else null. */
  path: v.nullable(path),
  /** What names the file of a Unix listener: its device and inode, in decimal, with a dash between. */
  file: v.optional(text(64)),
  /** Bytes, base64: session ticket keys of a TLS server, so that its clients can resume. */
  ticketKeys: v.optional(text(256)),
  sessionIdContext: v.optional(text(128)),
  /** Whether clients that pipeline were met here: only matters to connections that cannot move. */
  meetsPipelining: v.optional(v.boolean()),
  /** Whether the service has no handler for its connections, such as of a server by which it runs only once. */
  unhandled: v.optional(v.boolean()),
  /** Whether a service manager keeps it open itself: moult closes its copies, and never shuts it down. */
  lasting: v.optional(v.boolean()),
  /** Whether nobody claims it so far: one that is ready need not have it. Only where others keep it open. */
  spare: v.optional(v.boolean()),
  /** How many worker threads of the sender's process listen on it, where any do. */
  threads: v.optional(count),
});

const settings = v.object({
  readyTimeoutMs: ms,
  drainTimeoutMs: ms,
  /** Over how long of that what must be closed is closed; at once where it is not given. */
  drainSpreadMs: v.optional(ms),
  probationMs: ms,
  /** How long a commit waits for critical sections of the service; 30 seconds where it is not given. */
  busyTimeoutMs: v.optional(ms),
  stopSignal: text(16),
  /** Wait for the service to say that it is ready, rather than for its listeners. */
  waitReady: v.boolean(),
  /** Take the service for ready although it claimed fewer listeners than its predecessor had. */
  allowFewerListeners: v.boolean(),
  /** How long after its last listen() it is taken for ready then; 1 second where it is not given. */
  fewerAfterMs: v.optional(ms),
  /** The listeners that it is to have; all that it inherits where they are not given. */
  expects: v.optional(names),
  /** The predecessor commits only when the supervisor has checked the successor and says proceed. */
  checked: v.boolean(),
  /** Count responses and those with a status of 5xx. */
  countErrors: v.boolean(),
  /** The predecessor confirms only when the supervisor has looked from outside at the end of probation. */
  looked: v.optional(v.boolean()),
  /** The supervisor decides what follows when another process of the service has left its listeners. */
  hearsLeft: v.optional(v.boolean()),
  /** Users whose processes may be peers, besides the same user and root. */
  allowUids: v.optional(v.pipe(v.array(count), v.maxLength(64))),
  /** Whether live TLS 1.3 connections move; they drain where it is not given. */
  tls: v.optional(v.picklist(['move', 'drain'])),
  /** Other slots of the service accept on the same listeners: the supervisor alone closes them for good. */
  sharesListeners: v.optional(v.boolean()),
  /** Measure requests and the delay of the event loop from the start. */
  measures: v.optional(v.boolean()),
  /** How long HTTP servers keep idle connections that leave that to Node. */
  keepAliveMs: v.optional(ms),
  /** How long the service goes on serving after it was told `stopping`. */
  stopDelayMs: v.optional(ms),
});

/** A kind of connections that a service has declared movable, as the side that can restore them tells of it. */
const mover = v.object({
  name: moverName,
  /** The oldest and the newest version of their data that it can restore. */
  min: count,
  max: count,
});

const claims = v.pipe(
  v.array(
    v.object({
      name,
      accepts: v.array(v.picklist(['http1'])),
      movers: v.optional(v.pipe(v.array(mover), v.maxLength(MAX_MOVERS))),
      /** The connections over TLS 1.3 that it can restore, of a server of TLS. */
      tlsMovers: v.optional(v.pipe(v.array(mover), v.maxLength(MAX_MOVERS))),
      /** Whether the service has declared the flows of its datagrams. */
      flows: v.optional(v.boolean()),
      /** Whether the sender takes over TLS 1.3 connections of its HTTP/1.1 server. */
      tls: v.optional(v.boolean()),
      /** Whether it is only held so far: the service may still come to listen on it. */
      late: v.optional(v.boolean()),
    }),
  ),
  v.maxLength(MAX_LISTENERS),
);

const flowKeys = v.pipe(
  v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(256))),
  v.minLength(1),
  v.maxLength(MAX_FLOW_KEYS),
);

const stopped = v.object({
  moved: count,
  /** Finished by the predecessor: closed after their last response. */
  drained: count,
  /** Closed at the deadline although they were not at rest. */
  cut: v.pipe(
    v.array(
      v.object({
        peer: text(256),
        ageMs: ms,
        reason: text(256),
        /** What it was: `http1`, `http2`, `tls`, `websocket`, `proxied` or `other`. */
        kind: v.optional(text(32)),
      }),
    ),
    v.maxLength(MAX_CUT),
  ),
});

/** What a generation, or a thread of it, has measured. */
const measures = v.object({
  /** HTTP/1.1 requests that were answered while it measured, and those of them with a status of 5xx. */
  requests: count,
  errors: count,
  /** How many of them took up to each bound, and longer than the last one; how long all took together. */
  durations: v.pipe(v.array(count), v.maxLength(MAX_DURATIONS)),
  durationSumMs: ms,
  /** How much later than due the event loop came to its timers, since the time before: median, 99th percentile, longest. */
  delayP50Ms: ms,
  delayP99Ms: ms,
  delayMaxMs: ms,
});

const connection = v.object({
  listener: name,
  /** `fresh`: accepted for the taker, and nothing of it has been read. */
  kind: v.picklist(['http1', 'carried', 'fresh', 'tls']),
  /** Whose connection it is, and the version of its data: of `carried`. */
  mover: v.optional(moverName),
  version: v.optional(count),
  /** How many descriptors are its own, one after another: 1 unless it says so. Only to a side that has its mover. */
  descriptors: v.optional(v.literal(2)),
  /** Milliseconds that the connection may still be idle, or null for no limit. */
  idleLeftMs: v.nullable(ms),
  /** Milliseconds left to send the first head, for a connection that has sent nothing yet; else null. */
  headLeftMs: v.nullable(ms),
  /** Requests that it has made so far; counted only where the server limits them. */
  requests: count,
  /** When reads were frozen, in milliseconds of the monotonic clock that all processes share. */
  frozenAtMs: v.number(),
});

/** A piece of state, as the side that can take it tells of it. */
const want = v.object({
  name: pieceName,
  /** The oldest and the newest version that it can take. */
  min: count,
  max: count,
  /** Whether it wants to know what changed in the giver after the handover. */
  late: v.optional(v.boolean()),
});

const wants = v.pipe(v.array(want), v.maxLength(MAX_PIECES));
const tasks = v.pipe(v.array(pieceName), v.maxLength(MAX_TASKS));

const origin = v.pipe(v.string(), v.minLength(1), v.maxLength(64));

/** The number of the last broadcast of each sender that has been dealt with. */
const heard = v.pipe(v.array(v.object({ origin, seq: count })), v.maxLength(MAX_HEARD));

const draining = v.object({
  /** Why connections are still here, the most frequent reason first. */
  remaining: v.pipe(
    v.array(v.object({ reason: text(MAX_REASON), connections: count })),
    v.maxLength(MAX_REASONS),
  ),
  /** Milliseconds until what is left is cut. */
  cutInMs: v.number(),
  /** The first of these connections; only where the generation was asked to measure. */
  connections: v.optional(
    v.pipe(
      v.array(v.object({ peer: text(256), ageMs: ms, kind: text(32), reason: text(MAX_REASON) })),
      v.maxLength(MAX_DRAINING),
    ),
  ),
});

const generationState = v.object({
  generation: count,
  pid: count,
  state: text(32),
  entry: text(4096),
  startedAt: v.number(),
  /** Whether it took over from a predecessor; one that was started where nobody served did not. */
  tookOver: v.optional(v.boolean()),
  listeners: v.array(v.object({ name, address: v.record(v.string(), v.unknown()) })),
  connections: count,
  /** Requests that are being served. */
  inFlight: count,
  /** Critical sections of the service that run now. */
  critical: v.optional(count),
  /** Responses since its start, and those of them with a status of 5xx; counted only where asked for. */
  responses: count,
  errors: count,
  moves: v.object({
    http1: v.union([v.literal('yes'), text(1024)]),
    tls: v.optional(v.union([v.literal('yes'), text(1024)])),
  }),
  memoryBytes: count,
  /** What it has measured; only where it was asked to measure. */
  measures: v.optional(measures),
  /** What still ends here, where another generation accepts or none. */
  draining: v.optional(draining),
  /** What the service has declared and only a successor gets; only where it was asked for. */
  declared: v.optional(
    v.pipe(v.array(v.object({ name: text(256), entries: v.optional(count) })), v.maxLength(MAX_PIECES)),
  ),
  /** Beside that: its timers and jobs, which another slot takes that has some of the same name. */
  passable: v.optional(
    v.pipe(
      v.array(v.object({ name: text(256), kind: v.picklist(['timers', 'jobs']), entries: count })),
      v.maxLength(MAX_PIECES),
    ),
  ),
});

const listeners = v.pipe(v.array(listener), v.maxLength(MAX_LISTENERS));

/** The sockets of the worker threads that listen. */
const doors = v.pipe(v.array(path), v.maxLength(MAX_THREADS));

/** The schemas by message type. */
export const schemas = {
  // Opening, on every socket
  greeting,
  hello: v.object({
    protocol: count,
    role: v.picklist([
      'generation',
      'member',
      'successor',
      'neighbour',
      'fallback',
      'operator',
      'supervisor',
      'thread',
    ]),
    moult: text(64),
    pid: count,
    /** Whether the sender takes messages in parts. */
    parts: v.optional(v.boolean()),
    generation: v.optional(count),
    node: v.optional(text(64)),
    entry: v.optional(text(4096)),
    /** A generation that was there before this supervisor, or before its connection broke. */
    rejoin: v.optional(
      v.object({ accepting: v.boolean(), epoch: count, state: text(32), successor: v.nullable(count) }),
    ),
    /** The number of a worker thread of the acceptor's own process; 0 of a process that is a member of its service. */
    thread: v.optional(count),
    /** Whether other processes of its tree may join this generation. */
    members: v.optional(v.boolean()),
    /** Of a generation: whether it may be told of peers. Of a neighbour: it comes to share broadcasts. */
    shares: v.optional(v.boolean()),
    /** Of a generation: whether it takes `stopping`. */
    hearsStopping: v.optional(v.boolean()),
    /** Of a generation: whether it takes `renew-output`. */
    takesOutput: v.optional(v.boolean()),
    takesDoor: v.optional(v.boolean()),
    /** Of a generation: its Node loads no addons, so it neither sends nor takes descriptors. */
    withoutDescriptors: v.optional(v.boolean()),
    /** Of a successor: whether it takes `late-listener`. */
    takesLate: v.optional(v.boolean()),
    /** The names of the listener that it wants, the best first. */
    wants: v.optional(v.pipe(v.array(name), v.minLength(1), v.maxLength(8))),
    /** Of who wants one: it shares the port with other processes by its own wish (SO_REUSEPORT). */
    sharesPort: v.optional(v.boolean()),
  }),
  refused,

  // On every channel, where both sides have said so: a message that does not go in one frame
  part,
  whole,

  // The handover
  inherit: v.object({
    epoch: count,
    listeners,
    /** The number of the successor, where it did not come with one. */
    generation: v.optional(count),
    /** Whether state and tasks can be asked for here. */
    keeps: v.optional(v.boolean()),
    /** Whether broadcasts can be shared on this channel. */
    broadcasts: v.optional(v.boolean()),
    /** Whether the sender wants to hear what the successor is not ready for want of. */
    hearsMissing: v.optional(v.boolean()),
    /** Where the sender lets a fallback in: whoever takes over from this successor. */
    door: v.optional(path),
    /** Where those let a fallback in that still tell the sender what changes there. */
    earlier: v.optional(doors),
  }),
  /** What the successor does not listen on yet, and what it has opened that was not passed to it. */
  missing: v.object({
    names,
    opened: names,
    /** Whether this process ends and is not the service: another one of the same number comes. */
    passesBy: v.optional(v.boolean()),
  }),
  /** What the service of the predecessor has opened since `inherit`. */
  'late-listener': v.object({
    listener,
    /** Whether the successor is to have it: it waits for its service to listen there. */
    waits: v.boolean(),
  }),
  'state-want': v.object({ pieces: wants }),
  'state-part': v.object({
    name: pieceName,
    version: count,
    /** Whether the bytes of this part go on in the next frame. */
    goesOn: v.optional(v.boolean()),
    /** Says, without bytes, that a first copy of all of it has been sent. */
    isWhole: v.optional(v.boolean()),
  }),
  'state-read': v.object({ bytes: count }),
  'state-copied': v.object({}),
  /** The fallback is told what the generation before it has not read, once that one is gone. */
  fallback: v.object({}),
  ready: v.object({
    claims,
    said: v.boolean(),
    /** The tasks that the successor will run. */
    tasks: v.optional(tasks),
    /** Where its worker threads take connections. */
    threads: v.optional(doors),
    /** Whether it puts together what a task gives along in parts. */
    taskParts: v.optional(v.boolean()),
    /** A socket at which the supervisor reaches it past its gate: of one without descriptors. */
    reach: v.optional(path),
  }),
  commit: v.object({
    epoch: count,
    /** The tasks of the successor's that come later, each with its own message. */
    tasks: v.optional(tasks),
    /** The state of tasks of which the predecessor is told what the successor changes, as long as it may have to resume. */
    mirrors: v.optional(wants),
  }),
  committed: v.object({}),
  'task-begun': v.object({ name: pieceName }),
  'task-given': v.object({
    name: pieceName,
    /** Whether it was given before, and this came up afterwards. */
    late: v.optional(v.boolean()),
    /** Whether the bytes go on in the next frame of this task. */
    goesOn: v.optional(v.boolean()),
  }),
  'task-read': v.object({ bytes: count }),
  connections: v.object({
    batch: count,
    items: v.pipe(v.array(connection), v.minLength(1), v.maxLength(MAX_DESCRIPTORS)),
    /** Up to where the giver is with broadcasts. */
    heard: v.optional(heard),
  }),
  'connections-received': v.object({ batch: count, count }),
  'connections-data': v.object({
    batch: count,
    /** Places in the batch, and how many bytes of the attachment belong to each. */
    items: v.pipe(
      v.array(v.object({ index: count, bytes: count })),
      v.minLength(1),
      v.maxLength(MAX_DESCRIPTORS),
    ),
    /** Up to where they have been sent broadcasts. */
    heard: v.optional(heard),
  }),
  'connections-begin': v.object({
    batch: count,
    /** Those of the batch that the giver keeps after all. */
    without: v.optional(v.pipe(v.array(count), v.maxLength(MAX_DESCRIPTORS))),
  }),
  'connections-kept': v.object({
    batch: count,
    /** Whether the giver gives nothing more until the taker answers. */
    asks: v.optional(v.boolean()),
  }),
  'connections-adopted': v.object({
    batch: count,
    pausesMs: v.pipe(v.array(v.number()), v.maxLength(MAX_DESCRIPTORS)),
    /** Connections that could not be restored, and were closed. */
    failed: v.optional(count),
  }),
  /** Flows of datagrams that are the sender's. */
  flows: v.object({ listener: name, keys: flowKeys }),
  /** Flows that are the sender's no more. */
  'flows-ended': v.object({ listener: name, keys: flowKeys }),
  'flows-ended-seen': v.object({ count }),
  datagrams: v.object({
    listener: name,
    /** In the order of the attachment, which holds them one after the other. */
    items: v.pipe(
      v.array(
        v.object({ address: text(64), family: v.picklist(['IPv4', 'IPv6']), port: count, bytes: count }),
      ),
      v.minLength(1),
      v.maxLength(MAX_DATAGRAMS),
    ),
    /** Whether they came from the receiver, and their flow had ended at the sender. */
    returned: v.optional(v.boolean()),
  }),
  'datagrams-received': v.object({ bytes: count }),
  /** The sender shares its broadcasts on this channel from now on. */
  'broadcast-join': v.object({
    /** By which its messages are known. */
    id: origin,
    /** Up to where it is. */
    heard,
    /** Of those senders of whom it keeps messages that others may lack: up to where it does not. */
    kept: v.optional(heard),
    /** Whether it shares broadcasts for the first time. */
    first: v.boolean(),
    /** How many messages it had sent before it first asked others to share. */
    alone: v.optional(count),
  }),
  broadcast: v.object({
    /** In the order of the attachment, which holds them one after the other. */
    items: v.pipe(
      v.array(
        v.object({
          origin,
          seq: count,
          topic: pieceName,
          bytes: count,
          /** Only from older releases, of what came from a broker outside, from which the receiver may have it, too. */
          fed: v.optional(text(64)),
        }),
      ),
      v.minLength(1),
      v.maxLength(MAX_BROADCASTS),
    ),
    heard: v.optional(heard),
  }),
  'broadcast-heard': v.object({ heard }),
  confirm: v.object({
    /** The service is being stopped: the successor retires, too. */
    retire: v.optional(v.boolean()),
  }),
  'hand-back': v.object({
    claims,
    drainTimeoutMs: ms,
    drainSpreadMs: v.optional(ms),
    state: v.optional(wants),
    /** The tasks that have been given, and are wanted back. */
    tasks: v.optional(tasks),
    /** Where the sender's worker threads take connections. */
    threads: v.optional(doors),
    /** Whether it puts together what a task gives along in parts. */
    taskParts: v.optional(v.boolean()),
    /** Whether it says when it serves again. */
    saysResumed: v.optional(v.boolean()),
  }),
  'handed-back': v.object({
    /** Whether it goes on with what it has until it hears that the predecessor serves. */
    hearsResumed: v.optional(v.boolean()),
    /** Where the sender lets a fallback in: whoever takes over from the one to which it has handed back. */
    door: v.optional(path),
  }),
  resumed: v.object({}),
  abort: v.object({ error: errorReport, generation: v.optional(count) }),

  // A generation and that of another slot
  takes: v.object({
    claims,
    /** Where its worker threads take connections. */
    threads: v.optional(doors),
    /** Whether it takes connections of which nothing has been read. */
    fresh: v.optional(v.boolean()),
    /** Its tasks that go on with what another slot leaves behind. */
    tasks: v.optional(tasks),
  }),

  // A generation and its supervisor
  welcome: v.object({ generation: count, predecessor: v.nullable(path), settings }),
  hold: v.object({
    listener,
    /** Its number in the sender, which cannot send it: the supervisor copies it from there. */
    fd: v.optional(count),
  }),
  release: v.object({
    name,
    /** The service has not listened on it in time: it is closed for good. */
    late: v.optional(v.boolean()),
  }),
  /** Another process of the service has ended, and none has come to listen in its place. */
  left: v.object({
    pid: count,
    names,
    /** Whether that was its own wish, or the affair of who started it: then nobody listens there any more. */
    closed: v.boolean(),
    /** Whether it has exited by itself with another status than 0. */
    failed: v.optional(v.boolean()),
    /** The worker thread that has ended, where it was not the process. */
    thread: v.optional(count),
  }),
  /** Another slot of the service has opened a listener, or none has it any more. */
  share: v.object({ listener }),
  withdraw: v.object({ name }),
  expect: v.object({ generation: count, settings }),
  expecting: v.object({ generation: count, error: v.optional(errorReport) }),
  door: v.object({
    path,
    /** Whether the sender knows `look`. */
    looks: v.optional(v.boolean()),
  }),
  /** The socket at this path was removed: here is one that is bound there anew, for a generation that may not bind it itself. */
  'take-door': v.object({ path }),
  /** Connections of the supervisor's own are coming, which are nobody's affair; none any more where there are none. */
  look: v.object({
    id: count,
    probes: v.pipe(v.array(v.object({ listener: name, from: text(128) })), v.maxLength(MAX_LISTENERS)),
  }),
  looking: v.object({
    id: count,
    /** The names of the listeners on which the sender accepts. */
    listeners: v.pipe(v.array(name), v.maxLength(MAX_LISTENERS)),
    /** Those that its service has closed, and when, in milliseconds since 1970. */
    closed: v.pipe(v.array(v.object({ name, at: v.number() })), v.maxLength(MAX_LISTENERS)),
    /** Those that are held for its service, which has yet to listen on them; their clients wait. */
    late: v.optional(v.pipe(v.array(name), v.maxLength(MAX_LISTENERS))),
    /** How many connections it has accepted so far, in looks, on those of them where it has accepted any. */
    accepted: v.optional(v.pipe(v.array(v.object({ name, connections: count })), v.maxLength(MAX_LISTENERS))),
    /** The processes that accept on those of them on which worker threads or other processes of the service do. */
    processes: v.optional(
      v.pipe(
        v.array(v.object({ name, pids: v.pipe(v.array(count), v.maxLength(MAX_LISTENERS)) })),
        v.maxLength(MAX_LISTENERS),
      ),
    ),
  }),
  seen: v.object({ id: count, listener: name }),
  progress: v.object({
    generation: count,
    stage: text(32),
    at: v.number(),
    facts: v.record(v.string(), v.unknown()),
  }),
  aborted: v.object({ generation: count, error: errorReport }),
  undone: v.object({ generation: count, error: errorReport, alive: v.boolean() }),
  /** Write to the supervisor's own output from now on. */
  'direct-output': v.object({}),
  /** The supervisor's output is another one: write there from now on, from the next line on. And that it is done. */
  'renew-output': v.object({ id: count }),
  'output-renewed': v.object({ id: count }),
  undo: v.object({ error: errorReport }),
  proceed: v.object({ generation: count }),
  'check-connection': v.object({ listener: v.nullable(name) }),
  serving: v.object({ epoch: count, said: v.boolean() }),
  /** A stop was asked for: it begins after so long, and until then all goes on. */
  stopping: v.object({
    delayMs: ms,
    /** The path whose answers have status 503 meanwhile. */
    unready: v.optional(text(1024)),
  }),
  /** `keepOpen`: a service manager has copies of the listeners for the next start, so none is shut down. */
  retire: v.object({
    timeoutMs: ms,
    keepOpen: v.optional(v.boolean()),
    /** The sockets of generations of other slots, to which the connections go. */
    heirs: v.optional(v.pipe(v.array(path), v.maxLength(MAX_SLOTS))),
  }),
  /** Give so many connections to the generation behind this door; and how many have gone. */
  give: v.object({ door: path, count }),
  gave: v.object({ moved: count }),
  /** To which slots clients belong, and the sockets of those that serve; none: to none in particular. */
  homes: v.object({
    /** The name of the cookie by which clients are known; by their addresses where it is not given. */
    cookie: v.optional(text(256)),
    /** The slot of the receiver. */
    own: count,
    slots: v.pipe(v.array(v.object({ slot: count, door: v.nullable(path) })), v.maxLength(MAX_SLOTS)),
  }),
  drained: v.object({
    report: stopped,
    /** What it has measured in its whole life, where it was to. */
    measures: v.optional(measures),
  }),
  /** Where other processes of the tree join the generation; null where they cannot. */
  /** The generations that serve in other slots: broadcasts are shared with them. */
  peers: v.object({
    peers: v.pipe(v.array(v.object({ generation: count, door: path })), v.maxLength(MAX_SLOTS)),
  }),
  'ask-members-door': v.object({ id: count }),
  'members-door': v.object({
    /** Of the question; not given to a member. */
    id: v.optional(count),
    path: v.nullable(path),
  }),
  'ask-state': v.object({
    id: count,
    /** Measure requests and the delay of the event loop from now on, and tell of them. */
    measure: v.optional(v.boolean()),
    /** Tell what the service has declared and only a successor gets. */
    declared: v.optional(v.boolean()),
  }),
  state: v.object({ id: count, state: generationState }),

  // The main thread of a generation and its worker threads
  'thread-welcome': v.object({
    generation: count,
    settings,
    /** Whether the generation accepts: else what the thread listens on waits behind its gate. */
    accepts: v.boolean(),
  }),
  /** The thread listens, with or without having claimed; what its server says of its address. */
  listening: v.object({ name, address: v.record(v.string(), v.unknown()) }),
  /** Accept no more, and let no connection go. */
  pause: v.object({}),
  paused: v.object({}),
  /** The process ends by its own wish, with the status 0. */
  exits: v.object({
    /** Whether with another status than 0. */
    failed: v.optional(v.boolean()),
  }),
  /** Give the connections to the threads behind these doors, and end what cannot go. */
  leave: v.object({ doors, drainTimeoutMs: ms, drainSpreadMs: v.optional(ms) }),
  /** All that could leave at once has left. */
  settled: v.object({
    moved: count,
    /** Connections that the other side could not restore, and closed. */
    notRestored: count,
    /** How long connections stood still: at most 1,000 of them. */
    pausesMs: v.pipe(v.array(v.number()), v.maxLength(1000)),
  }),
  counts: v.object({
    id: count,
    connections: count,
    inFlight: count,
    responses: count,
    errors: count,
    measures: v.optional(measures),
  }),
  /** The process ends: nothing of moult keeps the thread alive. */
  end: v.object({}),

  // A supervisor and the one that takes over from it
  'take-over': v.object({
    /** Whether both have the same run folder, which then goes to the one that takes over. */
    sharesFolder: v.boolean(),
  }),
  offer: v.object({
    name: text(64),
    generation: count,
    door: path,
    epoch: count,
    /** The highest number that a generation has had. */
    lastNumber: count,
    /** Whether the service is used to saying itself that it is ready. */
    saysReady: v.boolean(),
  }),
  gone: v.object({}),

  // An operator and the supervisor
  restart: v.object({
    wait: v.boolean(),
    ifBusy: v.picklist(['wait', 'refuse']),
    allowFewerListeners: v.boolean(),
    /** Answer only when the successor is confirmed. */
    untilConfirmed: v.boolean(),
    /** Answer only when the predecessor has nothing left, and tell what became of its connections. */
    untilDrained: v.optional(v.boolean()),
    /** Wait until no more than `below` requests are in flight, up to `withinMs`. */
    whenQuiet: v.nullable(v.object({ below: count, withinMs: ms, atLimit: v.picklist(['go', 'give-up']) })),
    /** How many slots are replaced at once, and what becomes of those that were when one fails. */
    surge: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
    onFailure: v.optional(v.picklist(['undo', 'keep'])),
    /** Replace a predecessor that does not answer: it is ended once the successor is ready. */
    force: v.optional(v.boolean()),
  }),
  scale: v.object({
    slots: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SLOTS)),
    /** Go on where slots that end have what no other slot takes. */
    dropState: v.optional(v.boolean()),
  }),
  rollback: v.object({
    /** A release that is started again may listen on less than it did before (default: it may not). */
    allowFewerListeners: v.optional(v.boolean()),
  }),
  upgrade: v.object({}),
  history: v.object({}),
  stop: v.object({}),
  status: v.object({
    /** Have the generations measure, and tell of it. */
    measure: v.optional(v.boolean()),
    /** Tell the options that hold, too, and where each comes from. */
    config: v.optional(v.boolean()),
  }),
  metrics: v.object({}),
  /** Give a link to the dashboard that the supervisor serves. */
  dashboard: v.object({}),
  /** Open the output file anew. */
  'reopen-output': v.object({}),
  /** Tell what happens, as it does, until the channel closes. */
  watch: v.object({}),
  event,
  result,
} as const;

type Schemas = typeof schemas;

/** The literal types of messages. */
export type MessageType = keyof Schemas;
/** One message of the given type, as plain data. */
export type Message<T extends MessageType = MessageType> = {
  [K in T]: { readonly type: K } & v.InferOutput<Schemas[K]>;
}[T];

/** A listener as it is described in messages. */
export type ListenerItem = v.InferOutput<typeof listener>;
/** A kind of movable connections as it is described in messages. */
export type MoverItem = v.InferOutput<typeof mover>;
/** A moved connection as it is described in messages. */
export type ConnectionItem = v.InferOutput<typeof connection>;
/** What a generation is told at the start of a handover or of its life. */
export type Settings = v.InferOutput<typeof settings>;
/** What a generation tells of itself. */
export type GenerationState = v.InferOutput<typeof generationState>;
/** What a generation has measured. */
export type Measures = v.InferOutput<typeof measures>;
/** What became of the connections of a generation that stopped. */
export type DrainReport = v.InferOutput<typeof stopped>;

/**
 * The message that a frame holds, with the fields that its type has.
 * @throws MOULT_PROTOCOL_FRAME for an unknown type or a field that does not fit; the message names it.
 */
export function parseMessage(frame: Frame): Message {
  return parsedBy(schemas, frame) as Message;
}
