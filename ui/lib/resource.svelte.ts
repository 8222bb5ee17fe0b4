import { ApiError, asApiError, isAbort } from './api';

/** One remote value with its states: `data`, `error`, `loading`; a new load gives up the one before. */
export class Resource<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  #abort: AbortController | null = null;

  async load(fetcher: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    this.loading = true;
    try {
      this.data = await fetcher(abort.signal);
      this.error = undefined;
    } catch (error) {
      if (isAbort(error) || abort.signal.aborted) return;
      this.error = asApiError(error);
    }
    this.loading = false;
  }
}
