const TICK_MS = 5000;
let at = $state(Date.now());
setInterval(() => document.hidden || (at = Date.now()), TICK_MS);

/** The time in milliseconds, never before `least`; what shows it follows it. */
export const now = (least: number): number => Math.max(at, least);
