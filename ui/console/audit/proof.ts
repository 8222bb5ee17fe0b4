import type { Proof } from '../types';

const bytes = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (data: ArrayBuffer): string => [...new Uint8Array(data)].map((one) => one.toString(16).padStart(2, '0')).join('');
const node = async (one: string, other: string): Promise<string> => hex(await crypto.subtle.digest('SHA-256', bytes(`01${one}${other}`)));

/** The root that the hashes of a proof lead to from its leaf (RFC 9162, 2.1.3.2), or null where the proof has not the length that its place asks for. */
export async function rootOf({ position, size, leaf, proof }: Pick<Proof, 'position' | 'size' | 'leaf' | 'proof'>): Promise<string | null> {
  let [at, last, found] = [position - 1, size - 1, leaf];
  if (at < 0 || at > last) return null;
  const half = (value: number): number => Math.floor(value / 2);
  for (const other of proof) {
    if (last === 0) return null;
    if (at % 2 === 1 || at === last) {
      found = await node(other, found);
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else {
      found = await node(found, other);
    }
    [at, last] = [half(at), half(last)];
  }
  return last === 0 ? found : null;
}

/** Whether a proof leads to its root; null where this browser may not compute hashes (a page without TLS). */
export async function holds(proof: Proof): Promise<boolean | null> {
  return globalThis.isSecureContext === false ? null : (await rootOf(proof)) === proof.root;
}
