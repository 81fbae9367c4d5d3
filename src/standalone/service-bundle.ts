/*
 * All of moult that a service's process may need, as one CommonJS bundle without bare imports (scripts/build.mjs makes
 * dist/standalone/service-bundle.cjs of it): what its parts share is loaded once in a process, and it loads whatever flags Node was
 * started with, and however packages are found. docs/decisions/0035-what-starts-is-bundled.md
 */

// For the tests of failures, which break in here.
export { Channel } from '../channel/channel.js';
export { Opening } from '../channel/open.js';
export * as entry from '../service/service-entry.js';
export { beginAlone } from './begin.js';
