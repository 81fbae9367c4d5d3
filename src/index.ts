/**
 * What a program imports to be a service that can be restarted without loss. Importing it starts nothing.
 * @module moult
 */

export type { Subscription } from './broadcast/feeds/feeds.js';
export {
  type ErrorCode,
  type ErrorFacts,
  type ErrorReport,
  errorTable,
  MoultError,
  type Serving,
} from './errors.js';
export type { Broadcast } from './library/broadcast.js';
export type { CronOptions } from './library/declarations.js';
export { type DatagramFlowOptions, type DatagramFlows, datagramFlows } from './library/flows.js';
export { atBoundary, busy, type Movable, movable } from './library/movable/movable.js';
export { openService } from './library/open-service.js';
export { type MovableResponseList, type MovableResponses, movableResponses } from './library/responses.js';
export type { Service, ServiceEvents, ServiceMode } from './library/service-interface.js';
export type { ServiceOptions } from './library/service-options.js';
export type {
  PauseCounts,
  RemainingConnections,
  RestartSummary,
  StageEvent,
} from './lifecycle/restart-record.js';
export type { EndReport } from './service/life-events.js';
export type { MapOptions } from './state/map-entry.js';
export type { StateMap } from './state/state-map.js';
export type { StateOptions } from './state/value-entry.js';
export type { Consumer, ConsumerOptions, ConsumerStart, ConsumerStop } from './tasks/consumer.js';
export type { Job, Jobs, JobsOptions } from './tasks/runners/jobs-runner.js';
export type { ScheduleOptions, TickContext } from './tasks/runners/schedule-runner.js';
export type { TaskContext, TaskOptions } from './tasks/runners/task-runner.js';
export type { TimerContext, Timers } from './tasks/runners/timers-runner.js';
export { MOULT_VERSION } from './version.js';
