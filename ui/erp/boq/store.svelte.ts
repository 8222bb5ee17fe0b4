import { asApiError, isAbort, type ApiError } from '../../lib/api';
import * as api from '../api';
import type { Item } from '../types';

const SIZE = 100;
const KEPT = 60;
const SETTLE_MS = 60;

/** The items of one query, fetched by pages as the window moves; at most 60 pages are kept. */
export class Items {
  total = $state(-1);
  pages = $state.raw<ReadonlyMap<number, Item[]>>(new Map());
  error = $state.raw<ApiError | null>(null);
  updated = $state.raw<Date | null>(null);
  #calls = new Map<number, AbortController>();
  #timer = 0;
  #wanted: [number, number] = [0, 0];

  constructor(
    readonly code: string,
    readonly query: api.ItemQuery,
  ) {}

  at(index: number): Item | undefined {
    return this.pages.get(Math.floor(index / SIZE))?.[index % SIZE];
  }

  byId(id: number): Item | undefined {
    for (const page of this.pages.values()) {
      const found = page.find((item) => item.id === id);
      if (found) return found;
    }
    return undefined;
  }

  /** Say which items are in view; what is missing is fetched when the window rests. */
  want(first: number, last: number): void {
    this.#wanted = [Math.max(0, Math.floor(first / SIZE)), Math.max(0, Math.floor(last / SIZE))];
    clearTimeout(this.#timer);
    if (this.total < 0) this.#fetchWanted();
    else this.#timer = window.setTimeout(() => this.#fetchWanted(), SETTLE_MS);
  }

  replace(fresh: Item): void {
    for (const [number, page] of this.pages) {
      if (!page.some((item) => item.id === fresh.id)) continue;
      const pages = new Map(this.pages);
      pages.set(number, page.map((item) => (item.id === fresh.id ? fresh : item)));
      this.pages = pages;
    }
  }

  retry(): void {
    this.error = null;
    this.#fetchWanted();
  }

  stop(): void {
    clearTimeout(this.#timer);
    for (const call of this.#calls.values()) call.abort();
  }

  #fetchWanted(): void {
    const [first, last] = this.#wanted;
    for (const [number, call] of this.#calls) if (number < first - 1 || number > last + 1) call.abort();
    if (this.error) return;
    for (let number = first; number <= last; number += 1) {
      const inside = this.total < 0 || number * SIZE < this.total;
      if (inside && !this.pages.has(number) && !this.#calls.has(number)) void this.#fetch(number);
    }
  }

  async #fetch(number: number): Promise<void> {
    const call = new AbortController();
    this.#calls.set(number, call);
    try {
      const page = await api.items(this.code, this.query, number * SIZE, SIZE, call.signal);
      const pages = new Map(this.pages).set(number, page.items);
      for (const old of pages.keys()) {
        if (pages.size <= KEPT) break;
        if (old < this.#wanted[0] || old > this.#wanted[1]) pages.delete(old);
      }
      this.pages = pages;
      this.total = page.total;
      this.updated = new Date();
    } catch (error) {
      if (!isAbort(error)) this.error = asApiError(error);
    } finally {
      this.#calls.delete(number);
    }
  }
}
