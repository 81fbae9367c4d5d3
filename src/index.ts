/** moult: hot restart for Node.js services. The command line is `moult`; see the README. */
export { type ErrorCode, errorTable, MoultError, type Serving } from './errors.js';
export { MOULT_VERSION } from './version.js';
