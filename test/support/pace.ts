/**
 * Clients of the tests wait this many times as long between two requests as they do when they are to keep a service busy
 * all the time: test files that run at once share the processors. `MOULT_PACE=1 npm test` is the load of the slow proofs.
 */
export const PACE = Number(process.env.MOULT_PACE ?? 4);
