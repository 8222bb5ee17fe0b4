type Guard = { dirty: () => boolean };

/** History routing for one window: `router.path` and `router.query` are reactive; guards keep unsaved work. */
class Router {
  /** Where this application's pages begin; links elsewhere are left to the browser. */
  base = '/';
  url = $state.raw(new URL(location.href));
  asking = $state.raw<((leave: boolean) => void) | null>(null);
  #guards = new Set<Guard>();
  #index = (history.state as { index?: number } | null)?.index ?? 0;
  #silent = false;

  constructor() {
    history.replaceState({ index: this.#index }, '');
    addEventListener('popstate', () => void this.#popped());
    addEventListener('beforeunload', (event) => {
      if (this.dirty) event.preventDefault();
    });
    document.addEventListener('click', (event) => this.#clicked(event));
  }

  get path(): string {
    return this.url.pathname;
  }

  get query(): URLSearchParams {
    return this.url.searchParams;
  }

  get dirty(): boolean {
    return [...this.#guards].some((guard) => guard.dirty());
  }

  /** Keep the page while `dirty()` holds; call the returned function to let go. */
  guard(dirty: () => boolean): () => void {
    const guard = { dirty };
    this.#guards.add(guard);
    return () => this.#guards.delete(guard);
  }

  owns(path: string): boolean {
    return path.startsWith(this.base) && !/^\/(_rakiza\/)?api\//.test(path);
  }

  async go(to: string): Promise<void> {
    if (this.dirty && !(await this.#ask())) return;
    this.#guards.clear();
    this.#index += 1;
    history.pushState({ index: this.#index }, '', to);
    this.url = new URL(location.href);
    scrollTo(0, 0);
  }

  replace(to: string): void {
    history.replaceState({ index: this.#index }, '', to);
    this.url = new URL(location.href);
  }

  /** Change single query parameters without a new entry in the history; null removes one. */
  patchQuery(change: Record<string, string | null>): void {
    const url = new URL(this.url);
    for (const [name, value] of Object.entries(change)) {
      if (value === null || value === '') url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    this.replace(url.pathname + url.search);
  }

  #ask(): Promise<boolean> {
    return new Promise((resolve) => {
      this.asking = (leave) => {
        this.asking = null;
        resolve(leave);
      };
    });
  }

  async #popped(): Promise<void> {
    const index = (history.state as { index?: number } | null)?.index;
    if (index === undefined) return; // only the hash changed
    if (this.#silent) {
      this.#silent = false;
      return;
    }
    if (this.dirty) {
      const step = index - this.#index;
      this.#silent = true;
      history.go(-step);
      if (!(await this.#ask())) return;
      this.#guards.clear();
      history.go(step);
      return;
    }
    this.#index = index;
    this.url = new URL(location.href);
  }

  #clicked(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest('a');
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin || link.hash || !this.owns(link.pathname)) return;
    event.preventDefault();
    void this.go(link.pathname + link.search);
  }
}

export const router = new Router();

/** A path of this site from the query, or the fallback: never a way to another site. */
export function localPath(candidate: string | null, fallback: string): string {
  if (!candidate) return fallback;
  const url = new URL(candidate, location.origin);
  return url.origin === location.origin && candidate.startsWith('/') && router.owns(url.pathname) && !url.pathname.endsWith('/sign-in') ? url.pathname + url.search : fallback;
}
