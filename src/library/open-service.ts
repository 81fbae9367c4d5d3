import { MoultError } from '../errors.js';
import { ProcessService } from './service.js';
import type { Service } from './service-interface.js';
import type { ServiceOptions } from './service-options.js';

let opened: Service | undefined;

/**
 * Makes this process a generation of a service that can be restarted without loss: under `moult run`, or by
 * itself, or as a plain server where neither can be. Servers that listen from now on change hands at a restart;
 * the service says {@link Service.ready} when they may be reached.
 *
 * ```js
 * const service = openService({ pidFile: '/run/app.pid' });
 * const server = createServer((request, response) => response.end('hello'));
 * await service.listen(server, 3000);
 * await service.ready();
 * ```
 * @returns the same object at every call; options may be given at the first only.
 * @throws MOULT_BAD_OPTION; whatever the predecessor or the supervisor refused with.
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
