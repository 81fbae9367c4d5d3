import type { Logger } from 'pino';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { socketIdentity } from '../../os/sockets/socket-identity.js';
import { type Passed, sortPassed } from '../../service-manager/passed.js';
import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import type { HeldListeners } from './held-listeners.js';

/** Takes over what a service manager passed to this process: the first generation inherits the listeners. */
export function holdPassed(
  passed: readonly Passed[],
  held: HeldListeners,
  manager: ServiceManagerLink,
  log: Logger,
): void {
  const { listeners, dead, others } = sortPassed(passed);
  for (const { item, fd } of listeners) {
    const address = item.lasting ? socketIdentity(fd)?.address : undefined;
    const file = address?.family === 'unix' ? held.paths?.keep(item.name, address.path) : undefined;
    held.inherit(file === undefined ? item : { ...item, file }, fd);
    log.info(
      `${item.name} was passed by the service manager${item.lasting ? '' : '; the last start left it'}`,
    );
  }
  for (const { fd, name } of dead) {
    closeDescriptor(fd);
    manager.store?.forget(name);
  }
  for (const { fd, name } of others) {
    const what = `descriptor ${fd}${name && ` (${name})`}`;
    log.warn(`${what}, passed by the service manager, is not a socket for clients: it stays open, unused`);
  }
}
