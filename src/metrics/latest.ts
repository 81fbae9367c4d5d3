/** Notes a value in a map that keeps so many, and forgets the one that was noted first. */
export function remember<T>(map: Map<number, T>, key: number, value: T, most: number): void {
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}
