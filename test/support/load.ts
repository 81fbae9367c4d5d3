import { type Load, type LoadOptions, startLoad as start } from '#moult/verify/load.js';
import { endsWithTest } from './ends-with-test.js';

/** Starts a load of strict clients, which ends with the test if that does not end it. */
export function startLoad(options: LoadOptions): Load {
  const load = start(options);
  endsWithTest(() => load.stop(0));
  return load;
}
