/*
 * What is where. A fleet has two buckets: in one all stays, in the other what hosts say of their health goes by itself when they
 * fall silent. Keys become subjects ($KV.<bucket>.<key>), by which permissions can be narrowed: the service and the host are
 * parts of their own.
 */

/** The bucket of what stays. */
export function mainBucket(fleet: string): string {
  return `MOULT_${fleet}`;
}

/** The bucket of what hosts say all the time. */
export function aliveBucket(fleet: string): string {
  return `MOULT_${fleet}_ALIVE`;
}

/** A name as a part of a key: it has no dots. No name has an equals sign. */
export function token(name: string): string {
  return name.replaceAll('.', '=');
}

/** What a host tells of itself, in the bucket of what stays, and of its health, in the other. */
export function hostKey(host: string, service: string): string {
  return `host.${token(host)}.${token(service)}`;
}

/** What a host is told. */
export function orderKey(host: string, service: string): string {
  return `order.${token(host)}.${token(service)}`;
}

/** The roll of a service that is under way, or was the last. */
export function rollKey(service: string): string {
  return `roll.${token(service)}`;
}

/** Who leads the rolls of a service. */
export function leaseKey(service: string): string {
  return `lease.${token(service)}`;
}

/** A roll that has ended. */
export function pastKey(service: string, serial: number): string {
  return `past.${token(service)}.${serial}`;
}

/** The names in a key, in their order. */
export function namesIn(key: string): readonly string[] {
  return key
    .split('.')
    .slice(1)
    .map((part) => part.replaceAll('=', '.'));
}
