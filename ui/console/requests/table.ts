/** Rows sorted by `sort`, such as `-count`: numbers the largest first, words by the alphabet. */
export function sorted<T extends object>(rows: T[], sort: string): T[] {
  const key = sort.replace('-', '') as keyof T;
  const turn = sort.startsWith('-') ? -1 : 1;
  const order = (a: T[keyof T], b: T[keyof T]): number => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a ?? '').localeCompare(String(b ?? '')));
  return rows.toSorted((a, b) => turn * order(a[key], b[key]));
}
