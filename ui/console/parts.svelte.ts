import { ApiError } from '../lib/api';
import { Resource } from '../lib/resource.svelte';

const GONE = new Set([404, 405, 501]);

/** One part of a page: a room that is not there (404) or not now (503, 403) leaves its place empty instead of failing the page. */
export class Part<T> extends Resource<T> {
  absent = $state(false);

  constructor(private readonly fetcher: (signal: AbortSignal) => Promise<T>) {
    super();
  }

  async refresh(): Promise<void> {
    if (this.absent) return;
    await this.load(this.fetcher);
    this.absent = !!this.error && GONE.has(this.error.status);
  }

  /** Neither data nor an answer yet. */
  get waiting(): boolean {
    return this.data === undefined && this.error === undefined;
  }

  get away(): boolean {
    return this.error !== undefined;
  }

  /** Asked for in vain: there is nothing to show, not even what was known before. */
  get missing(): boolean {
    return this.away && this.data === undefined;
  }
}

/** The error that fails the whole page: no part has data, and not merely because no room is there. */
export function failureOf(parts: Part<unknown>[]): ApiError | undefined {
  if (parts.some((part) => part.data !== undefined || part.waiting)) return undefined;
  return (parts.find((part) => !part.absent) ?? parts[0])?.error;
}
