// The service under test: it consumes numbers with one of the files beside it, and writes each that it has handled.
import { openSync, writeSync } from 'node:fs';
import process from 'node:process';
import { setImmediate as turn } from 'node:timers/promises';
import { openService } from 'moult';

const { BROKER, BROKER_URL: url, CHANGEOVER: changeover, HANDLED } = process.env;
const { default: broker } = await import(`./${BROKER}.mjs`);
const service = openService();
const handled = openSync(HANDLED, 'a');

const consumer = broker.consumer({
  url,
  changeover,
  async handle(n) {
    await turn();
    // CLOCK_MONOTONIC: the same for all generations.
    writeSync(handled, `${n} ${service.generation} ${process.hrtime.bigint()}\n`);
  },
});
service.consumer('numbers', consumer, { changeover });
await service.ready();
