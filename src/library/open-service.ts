import { MoultError } from '../errors.js';
import { ProcessService } from './service.js';
import type { Service } from './service-interface.js';
import type { ServiceOptions } from './service-options.js';

let opened: Service | undefined;

/**
 * Makes this process a generation of a service that can be restarted without loss: under `moult run`, by
 * itself, or, where neither is possible, as a plain server. Servers that listen from now on are handed over
 * at a restart; call {@link Service.ready} when clients may reach them.
 *
 * ```js
 * const service = openService({ pidFile: '/run/app.pid' });
 * const server = createServer((request, response) => response.end('hello'));
 * await service.listen(server, 3000);
 * await service.ready();
 * ```
 * @returns the same object at every call. Only the first call may have options.
 * @throws MOULT_BAD_OPTION; the error with which the predecessor or the supervisor refused this process.
 */
export function openService(options?: ServiceOptions): Service {
  if (opened !== undefined) {
    if (options === undefined) return opened;
    throw new MoultError(
      'MOULT_BAD_OPTION',
      'expected options at the first openService() only, received them again',
    );
  }
  opened = new ProcessService(options ?? {});
  return opened;
}
