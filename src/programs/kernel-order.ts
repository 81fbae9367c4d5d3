/** Which of so many closed first is not gone through any more. */
const MAX_CLOSED = 5;

/**
 * How the kernel counts the sockets of one address that are left, when it counted them like this before: the last takes the
 * place of one that closes. Pure. Source: Linux net/core/sock_reuseport.c, __reuseport_detach_sock.
 * @param before all of them, then.
 * @param open those that are left.
 * @returns undefined when that depends on which closed first.
 */
export function orderLeft(before: readonly number[], open: ReadonlySet<number>): number[] | undefined {
  const left = before.filter((one) => open.has(one));
  if (left.length <= 1) return left;
  if (before.length - left.length > MAX_CLOSED) return undefined;
  const [first, ...others] = ordersLeft(before, open);
  return others.every((order) => order.join() === first?.join()) ? first : undefined;
}

function ordersLeft(order: readonly number[], open: ReadonlySet<number>): number[][] {
  const closed = order.filter((one) => !open.has(one));
  if (closed.length === 0) return [[...order]];
  return closed.flatMap((one) => ordersLeft(without(order, one), open));
}

function without(order: readonly number[], one: number): number[] {
  const left = [...order];
  const last = left.pop();
  const at = left.indexOf(one);
  if (last !== undefined && at >= 0) left[at] = last;
  return left;
}
