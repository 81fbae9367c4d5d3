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
    help: 'Always 1; the version of moult and of Node that the supervisor runs.',
    labels: ['version', 'node'],
  },
  state: {
    name: 'moult_state',
    type: 'gauge',
    help: '1 for the state that the service is in, 0 for the others.',
    labels: ['state'],
  },
  slots: {
    name: 'moult_slots',
    type: 'gauge',
    help: 'Processes that share the service; 1 where it was started without slots.',
    labels: [],
  },
  supervisorStart: {
    name: 'moult_supervisor_start_time_seconds',
    type: 'gauge',
    help: 'When this program of the supervisor began, in seconds since 1970; counters count from then on.',
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
    help: 'Processor time of the supervisor.',
    labels: [],
  },
  restarts: {
    name: 'moult_restarts_total',
    type: 'counter',
    help: 'Restarts by how they ended: confirmed, failed (before the successor took over) or undone (after it).',
    labels: ['kind', 'result'],
  },
  restartFailures: {
    name: 'moult_restart_failures_total',
    type: 'counter',
    help: 'Restarts that failed or were undone, by the code of the error.',
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
    help: 'From the start of a successor until all that could move had moved; of restarts that took over.',
    labels: [],
  },
  stageDuration: {
    name: 'moult_restart_stage_duration_seconds',
    type: 'histogram',
    help: 'How long each stage of a restart took; also of restarts that failed.',
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
    help: 'Connections that came to their end with a predecessor.',
    labels: [],
  },
  cut: {
    name: 'moult_connections_cut_total',
    type: 'counter',
    help: 'Connections that were cut at the drain deadline, by what they were.',
    labels: ['kind'],
  },
  pause: {
    name: 'moult_connection_pause_seconds',
    type: 'histogram',
    help: 'How long connections that moved stood still.',
    labels: [],
  },
  crashes: {
    name: 'moult_crashes_total',
    type: 'counter',
    help: 'How often a generation that served ended by itself.',
    labels: [],
  },
  backoff: {
    name: 'moult_backoff_seconds',
    type: 'gauge',
    help: 'Until a service that crashed starts again; 0 when no start is due.',
    labels: ['slot'],
  },
  probation: {
    name: 'moult_probation',
    type: 'gauge',
    help: '1 while a successor is watched, and its predecessor can still take over again.',
    labels: ['slot'],
  },
  generationState: {
    name: 'moult_generation_state',
    type: 'gauge',
    help: '1 for the state that a living generation is in.',
    labels: [...ofGeneration, 'state'],
  },
  generationStart: {
    name: 'moult_generation_start_time_seconds',
    type: 'gauge',
    help: 'When a living generation began, in seconds since 1970.',
    labels: ofGeneration,
  },
  connections: {
    name: 'moult_connections',
    type: 'gauge',
    help: 'Open connections of a living generation.',
    labels: ofGeneration,
  },
  inFlight: {
    name: 'moult_requests_in_flight',
    type: 'gauge',
    help: 'Requests that a living generation receives or answers.',
    labels: ofGeneration,
  },
  memory: {
    name: 'moult_resident_memory_bytes',
    type: 'gauge',
    help: 'Resident memory of a living generation.',
    labels: ofGeneration,
  },
  cpu: {
    name: 'moult_cpu_seconds_total',
    type: 'counter',
    help: 'Processor time of the process of a living generation.',
    labels: ofGeneration,
  },
  loopDelay: {
    name: 'moult_event_loop_delay_seconds',
    type: 'gauge',
    help: 'How much later than due the event loop of a living generation came to its timers, since the last look; quantile 1 is the longest.',
    labels: [...ofGeneration, 'quantile'],
  },
  requests: {
    name: 'moult_http_requests_total',
    type: 'counter',
    help: 'HTTP/1.1 requests that were answered, by all generations of a slot together.',
    labels: ['slot'],
  },
  errors: {
    name: 'moult_http_errors_total',
    type: 'counter',
    help: 'Those of them that were answered with a status of 500 to 599.',
    labels: ['slot'],
  },
  requestDuration: {
    name: 'moult_http_request_duration_seconds',
    type: 'histogram',
    help: 'From the head of a request to the end of its response.',
    labels: ['slot'],
  },
} as const satisfies Readonly<Record<string, MetricRow>>;

/** The key of a metric in the table. */
export type MetricKey = keyof typeof metricTable;
/** The labels of a metric. */
export type LabelsOf<K extends MetricKey> = (typeof metricTable)[K]['labels'][number];
