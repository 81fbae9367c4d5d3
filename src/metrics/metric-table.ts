/** What a metric is. */
export interface MetricRow {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
}

const ofGeneration = ['slot', 'generation'] as const;

/**
 * Every metric, by Prometheus' conventions of names: seconds, bytes, `_total` for what only grows. `docs/reference/metrics.md` is held
 * equal to it by a test. No label has values that clients choose, or that add up over restarts: a series of a generation
 * is there for as long as that one lives.
 */
export const metricTable = {
  info: {
    name: 'moult_info',
    type: 'gauge',
    help: 'Always 1; the labels have the versions of moult and Node that the supervisor runs.',
    labels: ['version', 'node'],
  },
  state: {
    name: 'moult_state',
    type: 'gauge',
    help: '1 for the current state of the service, 0 for the others.',
    labels: ['state'],
  },
  slots: {
    name: 'moult_slots',
    type: 'gauge',
    help: 'Number of processes that share the service; 1 without slots.',
    labels: [],
  },
  supervisorStart: {
    name: 'moult_supervisor_start_time_seconds',
    type: 'gauge',
    help: 'When the current program of the supervisor started, in seconds since 1970; counters start at 0 then.',
    labels: [],
  },
  supervisorMemory: {
    name: 'moult_supervisor_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of the supervisor.',
    labels: [],
  },
  supervisorCpu: {
    name: 'moult_supervisor_cpu_seconds_total',
    type: 'counter',
    help: 'CPU time of the supervisor.',
    labels: [],
  },
  restarts: {
    name: 'moult_restarts_total',
    type: 'counter',
    help: 'Restarts by result: confirmed, failed (before the successor took over) or undone (after that).',
    labels: ['kind', 'result'],
  },
  restartFailures: {
    name: 'moult_restart_failures_total',
    type: 'counter',
    help: 'Failed or undone restarts, by error code.',
    labels: ['reason'],
  },
  lastRestart: {
    name: 'moult_last_restart_time_seconds',
    type: 'gauge',
    help: 'When a restart last ended with this result, in seconds since 1970.',
    labels: ['result'],
  },
  restartDuration: {
    name: 'moult_restart_duration_seconds',
    type: 'histogram',
    help: 'Time from the start of a successor until all movable connections at rest have moved, for restarts that took over.',
    labels: [],
  },
  stageDuration: {
    name: 'moult_restart_stage_duration_seconds',
    type: 'histogram',
    help: 'Duration of each stage of a restart, including failed restarts.',
    labels: ['stage'],
  },
  moved: {
    name: 'moult_connections_moved_total',
    type: 'counter',
    help: 'Connections that moved to a successor.',
    labels: [],
  },
  drained: {
    name: 'moult_connections_drained_total',
    type: 'counter',
    help: 'Connections that ended on a predecessor.',
    labels: [],
  },
  cut: {
    name: 'moult_connections_cut_total',
    type: 'counter',
    help: 'Connections cut at the drain deadline, by kind.',
    labels: ['kind'],
  },
  pause: {
    name: 'moult_connection_pause_seconds',
    type: 'histogram',
    help: 'How long moved connections were paused.',
    labels: [],
  },
  crashes: {
    name: 'moult_crashes_total',
    type: 'counter',
    help: 'How often a serving generation exited by itself.',
    labels: [],
  },
  backoff: {
    name: 'moult_backoff_seconds',
    type: 'gauge',
    help: 'Time until a crashed service starts again; 0 if no start is due.',
    labels: ['slot'],
  },
  probation: {
    name: 'moult_probation',
    type: 'gauge',
    help: '1 during probation, while the predecessor can still take over again.',
    labels: ['slot'],
  },
  generationState: {
    name: 'moult_generation_state',
    type: 'gauge',
    help: '1 for the current state of a running generation.',
    labels: [...ofGeneration, 'state'],
  },
  generationStart: {
    name: 'moult_generation_start_time_seconds',
    type: 'gauge',
    help: 'When a running generation started, in seconds since 1970.',
    labels: ofGeneration,
  },
  connections: {
    name: 'moult_connections',
    type: 'gauge',
    help: 'Open connections of a running generation.',
    labels: ofGeneration,
  },
  inFlight: {
    name: 'moult_requests_in_flight',
    type: 'gauge',
    help: 'Requests in progress in a running generation.',
    labels: ofGeneration,
  },
  memory: {
    name: 'moult_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of a running generation.',
    labels: ofGeneration,
  },
  cpu: {
    name: 'moult_cpu_seconds_total',
    type: 'counter',
    help: 'CPU time of the process of a running generation.',
    labels: ofGeneration,
  },
  loopDelay: {
    name: 'moult_event_loop_delay_seconds',
    type: 'gauge',
    help: 'Event-loop delay of a running generation since the last sample; percentile 100 is the maximum.',
    labels: [...ofGeneration, 'percentile'],
  },
  requests: {
    name: 'moult_http_requests_total',
    type: 'counter',
    help: 'HTTP/1.1 requests answered by all generations of a slot together.',
    labels: ['slot'],
  },
  errors: {
    name: 'moult_http_errors_total',
    type: 'counter',
    help: 'HTTP/1.1 requests answered with a status of 500 to 599.',
    labels: ['slot'],
  },
  requestDuration: {
    name: 'moult_http_request_duration_seconds',
    type: 'histogram',
    help: 'Time from the head of a request to the end of its response.',
    labels: ['slot'],
  },
} as const satisfies Readonly<Record<string, MetricRow>>;

/** The key of a metric in the table. */
export type MetricKey = keyof typeof metricTable;
/** The labels of a metric. */
export type LabelsOf<K extends MetricKey> = (typeof metricTable)[K]['labels'][number];
