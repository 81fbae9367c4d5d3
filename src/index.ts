/**
 * What a program imports to be a service that can be restarted without loss. Importing it starts nothing.
 * @module moult
 */
export {
  type ErrorCode,
  type ErrorFacts,
  type ErrorReport,
  errorTable,
  MoultError,
  type Serving,
} from './errors.js';
export { atBoundary, busy, type Movable, movable } from './library/movable.js';
export { openService } from './library/open-service.js';
export type { ServiceOptions } from './library/options.js';
export { type MovableResponseList, type MovableResponses, movableResponses } from './library/responses.js';
export type { Service, ServiceEvents, ServiceMode } from './library/service-interface.js';
export type { RestartSummary, StageEvent } from './lifecycle/restart-record.js';
export type { EndReport } from './service/life-events.js';
export { MOULT_VERSION } from './version.js';
