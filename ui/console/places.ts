/** The rows in the places they had: what is gone leaves its place to what is new. */
export function inPlace<T>(before: T[], next: T[], key: (item: T) => unknown): T[] {
  const now = new Map(next.map((item) => [key(item), item]));
  const known = new Set(before.map(key));
  const fresh = next.filter((item) => !known.has(key(item)));
  const placed = before.map((item) => now.get(key(item)) ?? fresh.shift()).filter((item): item is T => item !== undefined);
  return [...placed, ...fresh];
}
