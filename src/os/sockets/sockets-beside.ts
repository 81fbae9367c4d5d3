import { inodeOf } from '../descriptors/foreign-descriptor.js';
import { sharesListening } from './reuseport.js';
import { type InternetListener, tcpListeners } from './socket-diag.js';
import { type SocketName, socketIdentity } from './socket-identity.js';

/**
 * The inodes of the other sockets that listen where a TCP socket does, and get some of its clients. Without SO_REUSEPORT on
 * both there are none, and nobody is asked. Source: socket(7), SO_REUSEPORT.
 * @throws MOULT_SYSTEM_CALL where the kernel does not tell.
 */
export function socketsBeside(fd: number): readonly number[] {
  if (!sharesListening(fd)) return [];
  const address = socketIdentity(fd)?.address;
  if (address === undefined || !('port' in address)) return [];
  const own = inodeOf(fd);
  const all = tcpListeners().filter(({ port }) => port === address.port);
  // At another device it has other clients.
  const device = all.find(({ inode }) => inode === own)?.device;
  return all
    .filter((other) => other.inode !== own && other.device === device && takesClientsOf(address, other))
    .map(({ inode }) => inode);
}

type InternetName = Extract<SocketName, { port: number }>;

// Of two the kernel takes the one whose address says more.
function takesClientsOf({ host, family, ipv6Only }: InternetName, other: InternetListener): boolean {
  if (other.host === host) return true;
  const isIpv6 = other.host.includes(':');
  if (family === 'ipv4') return host === '0.0.0.0' && !isIpv6;
  return host === '::' && (isIpv6 || !ipv6Only);
}
