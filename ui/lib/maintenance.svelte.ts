import { onMaintenance } from './api';

const FORGOTTEN_SECONDS = 30;

/** Nothing can be saved while a restore is at work: learnt from a refusal, and forgotten a while after the last. */
class Maintenance {
  on = $state(false);
  #timer = 0;

  constructor() {
    onMaintenance((seconds) => this.seen(seconds ?? FORGOTTEN_SECONDS));
  }

  seen(seconds = FORGOTTEN_SECONDS): void {
    this.on = seconds > 0;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => (this.on = false), seconds * 1000);
  }
}

export const maintenance = new Maintenance();
