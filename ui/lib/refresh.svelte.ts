import { untrack } from 'svelte';

/** Repeats `work` every few seconds while the tab is seen; `at` is when it last ended. `$effect(() => refresh.start())`. */
export class Refresh {
  at = $state.raw<Date | null>(null);
  paused = $state(false);
  busy = $state(false);
  #timer = 0;
  #alive = false;

  constructor(
    private readonly work: () => Promise<unknown>,
    readonly seconds = 5,
  ) {}

  start(): () => void {
    this.#alive = true;
    const seen = (): void => (document.hidden ? clearTimeout(this.#timer) : void this.now());
    document.addEventListener('visibilitychange', seen);
    untrack(() => void this.now()); // what the work reads must not start it again
    return () => {
      this.#alive = false;
      clearTimeout(this.#timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }

  async now(): Promise<void> {
    clearTimeout(this.#timer);
    this.busy = true;
    await this.work();
    this.busy = false;
    this.at = new Date();
    this.#plan();
  }

  toggle(): void {
    this.paused = !this.paused;
    if (this.paused) clearTimeout(this.#timer);
    else void this.now();
  }

  #plan(): void {
    clearTimeout(this.#timer);
    if (this.#alive && !this.paused && !document.hidden) this.#timer = window.setTimeout(() => void this.now(), this.seconds * 1000);
  }
}
