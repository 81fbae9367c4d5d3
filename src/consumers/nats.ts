export * from './jetstream.js';
