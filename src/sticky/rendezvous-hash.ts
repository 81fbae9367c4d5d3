/*
 * To which slot a client belongs. By the highest of one number for each slot (rendezvous hashing): where a slot comes
 * or goes, only the clients that it gets or had belong elsewhere than before. Source: Thaler and Ravishankar, 1998.
 */

/** What tells clients apart by their address: an IPv4 address is the same over an IPv6 socket. */
export function addressKey(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** The slot of this client; undefined where there are none. The same in every process and release. */
export function rendezvousHash(key: string, slots: readonly number[]): number | undefined {
  const hash = fnv1a(key);
  let home: number | undefined;
  let highest = -1;
  for (const slot of slots) {
    const weight = mix(hash ^ mix(slot + 1));
    if (weight <= highest) continue;
    highest = weight;
    home = slot;
  }
  return home;
}

// FNV-1a of 32 bits over the UTF-16 units. Source: draft-eastlake-fnv.
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

// The last step of MurmurHash3: every bit of the input changes half of the output's.
function mix(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
