import { asApiError, isAbort, type ApiError } from '../lib/api';
import { inPlace } from './places';
import type { Cursored } from './types';

const TYPING_MS = 250;
const LIVE_PAGES = 4;

/** Begin the list anew a moment after what is wanted changes; called while a page starts. */
export function follow(list: { first: () => Promise<void> }, wanted: () => unknown): void {
  let shown = JSON.stringify(wanted());
  $effect(() => {
    const next = JSON.stringify(wanted());
    if (next === shown) return;
    const timer = setTimeout(() => {
      shown = next;
      void list.first();
    }, TYPING_MS);
    return () => clearTimeout(timer);
  });
}

/** A list read page by page: `first` begins anew, `older` adds the next page, `fresh` looks for what is new. */
export class Paged<T, P extends Cursored<T> = Cursored<T>> {
  items = $state.raw<T[]>([]);
  /** The page read last. */
  data = $state.raw<P>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  #abort: AbortController | null = null;
  #pages = 0;

  constructor(
    private readonly fetcher: (cursor: string | null, signal: AbortSignal) => Promise<P>,
    private readonly key: (item: T) => unknown,
  ) {}

  get waiting(): boolean {
    return this.data === undefined && this.error === undefined;
  }

  async first(quiet = false): Promise<void> {
    const page = await this.#read(null, quiet);
    if (!page) return;
    this.items = page.items;
    this.data = page;
    this.#pages = 1;
  }

  async older(): Promise<void> {
    const page = await this.#read(this.data?.next_cursor ?? null);
    if (!page) return;
    const known = new Set(this.items.map(this.key));
    this.items = [...this.items, ...page.items.filter((item) => !known.has(this.key(item)))];
    this.data = page;
    this.#pages += 1;
  }

  /** Read the first page again and keep the older ones. */
  async fresh(): Promise<void> {
    if (this.loading) return;
    if (this.#pages < 2) return this.first(true);
    const page = await this.#read(null, true);
    if (!page) return;
    const known = new Set(page.items.map(this.key));
    this.items = [...page.items, ...this.items.filter((item) => !known.has(this.key(item)))];
  }

  /** Read what is shown again, for rows that change and go; with `still` the rows keep their places. */
  async again(still: boolean): Promise<void> {
    if (this.loading) return;
    if (this.#pages > LIVE_PAGES) return this.fresh();
    const items = new Map<unknown, T>(); // a row may move to the next page between the two answers
    let page: P | undefined;
    for (let at = 0; at < Math.max(1, this.#pages) && (at === 0 || page?.next_cursor); at++) {
      page = await this.#read(page?.next_cursor ?? null, true);
      if (!page) return;
      for (const item of page.items) items.set(this.key(item), item);
    }
    const next = [...items.values()];
    this.items = still ? inPlace(this.items, next, this.key) : next;
    this.data = page;
    this.#pages ||= 1;
  }

  async #read(cursor: string | null, quiet = false): Promise<P | undefined> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.loading = !quiet;
    try {
      const page = await this.fetcher(cursor, abort.signal);
      this.error = undefined;
      this.loading = false;
      return page;
    } catch (error) {
      if (isAbort(error) || abort.signal.aborted) return undefined;
      this.error = asApiError(error);
      this.loading = false;
      return undefined;
    }
  }
}
