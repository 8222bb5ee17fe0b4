import { prefs } from './prefs.svelte';

const NBSP = '\u00a0';
const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat | Intl.ListFormat>();

function locale(calendar = ''): string {
  const base = prefs.lang === 'ar' ? 'ar' : 'en-GB';
  const digits = prefs.lang === 'ar' ? prefs.digits : 'latn';
  return `${base}-u${calendar && `-ca-${calendar}`}-nu-${digits}`;
}

function cached<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat | Intl.ListFormat>(key: string, make: () => T): T {
  let found = cache.get(key);
  if (!found) cache.set(key, (found = make()));
  return found as T;
}

/** A number or decimal string with grouping; strings are formatted exactly, never through a float. */
export function number(value: string | number, least = 0, most = Math.max(least, 6)): string {
  const tag = locale();
  const format = cached(`n${tag}${least}.${most}`, () => new Intl.NumberFormat(tag, { minimumFractionDigits: least, maximumFractionDigits: most }));
  return format.format(value as number).replace(/^\u200e|\u061c/g, '');
}

export const amount = (value: string | number): string => number(value, 2, 2);
export const quantity = (value: string | number): string => number(value, 2, 6);
export const price = (value: string | number): string => number(value, 2, 4);

export function currencyName(code: string): string {
  return prefs.lang === 'ar' && code === 'SAR' ? 'ر.س' : code;
}

export function percent(value: string | number): string {
  return `${number(value, 1, 1)}%`;
}

function parsed(value: string): Date {
  return /^\d{4}-\d\d-\d\d$/.test(value) ? new Date(`${value}T12:00:00`) : new Date(value);
}

/** 22 نوفمبر 2026 */
export function date(value: string): string {
  const tag = locale('gregory');
  return cached(`d${tag}`, () => new Intl.DateTimeFormat(tag, { day: 'numeric', month: 'long', year: 'numeric' })).format(parsed(value));
}

export function hijri(value: string): string {
  const tag = locale('islamic-umalqura');
  return cached(`h${tag}`, () => new Intl.DateTimeFormat(tag, { day: 'numeric', month: 'long', year: 'numeric' })).format(parsed(value));
}

export function clock(value: Date | string): string {
  const tag = locale('gregory');
  const when = typeof value === 'string' ? parsed(value) : value;
  return cached(`c${tag}`, () => new Intl.DateTimeFormat(tag, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })).format(when);
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

export function ago(value: string, now = Date.now()): string {
  const seconds = (parsed(value).getTime() - now) / 1000;
  if (Math.abs(seconds) > 30 * 86400) return date(value);
  const [unit, size] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? ['second', 1];
  const tag = locale();
  return cached(`r${tag}`, () => new Intl.RelativeTimeFormat(tag, { numeric: 'auto' })).format(Math.trunc(seconds / size), unit);
}

export function fileSize(bytes: number): string {
  return bytes < 1e6 ? `${number(Math.ceil(bytes / 1000))}${NBSP}kB` : `${number(bytes / 1e6, 1, 1)}${NBSP}MB`;
}

const WEEK_SECONDS = 7 * 86400;

/** A measured time with its unit, the same in both languages: 40 µs, 340 ms, 1.24 s. */
export function millis(value: number): string {
  if (value > 0 && value < 0.1) return `${number(value * 1000, 0, 0)}${NBSP}µs`;
  if (value >= 60_000) return `${number(value / 60_000, 1, 1)}${NBSP}min`;
  if (value >= 1000) return `${number(value / 1000, 2, 2)}${NBSP}s`;
  return `${number(value, 0, value < 10 ? 1 : 0)}${NBSP}ms`;
}

/** A time somebody waits through, in words: 3 days, 1 hour; at most two units. */
export function lasting(seconds: number): string {
  const tag = locale();
  const words: string[] = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [unit, size] of STEPS) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole > 0 || (unit === 'second' && words.length === 0)) words.push(cached(`u${tag}${unit}`, () => new Intl.NumberFormat(tag, { style: 'unit', unit, unitDisplay: 'long' })).format(whole));
    if (words.length === 2 || (unit === 'minute' && words.length > 0)) break;
  }
  return words.join(prefs.lang === 'ar' ? ' و' : ', ');
}

/** An instant with seconds; the day too unless it is today. */
export function instant(value: Date | string): string {
  const when = typeof value === 'string' ? parsed(value) : value;
  const tag = locale('gregory');
  const today = when.toDateString() === new Date().toDateString();
  const day: Intl.DateTimeFormatOptions = today ? {} : { day: 'numeric', month: 'short', year: 'numeric' };
  return cached(`i${tag}${today}`, () => new Intl.DateTimeFormat(tag, { ...day, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })).format(when);
}

/** An instant on the clock of a time zone: Fri 27 Nov, 02:00; the year too unless it is this one. */
export function inZone(value: string, zone: string): string {
  const tag = locale('gregory');
  const year: Intl.DateTimeFormatOptions = parsed(value).getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
  const make = (timeZone?: string): Intl.DateTimeFormat => new Intl.DateTimeFormat(tag, { weekday: 'short', day: 'numeric', month: 'short', ...year, hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(timeZone && { timeZone }) });
  return cached(`z${tag}${zone}${year.year ?? ''}`, () => {
    try {
      return make(zone);
    } catch {
      return make(); // a zone that this browser does not know
    }
  }).format(parsed(value));
}

/** A tick of a time axis whose ticks are `step` seconds apart; midnight shows its day. */
export function tick(seconds: number, step: number): string {
  const when = new Date(seconds * 1000);
  const midnight = when.getHours() === 0 && when.getMinutes() === 0;
  const tag = locale('gregory');
  if (step >= 4 * WEEK_SECONDS) return cached(`tm${tag}`, () => new Intl.DateTimeFormat(tag, { month: 'short', year: '2-digit' })).format(when);
  if (step >= 86400 || midnight) return cached(`td${tag}`, () => new Intl.DateTimeFormat(tag, { day: 'numeric', month: 'short' })).format(when);
  return step < 60 ? instant(when) : clock(when);
}

/** Bytes in the unit that keeps three digits: 412 MB, 1.2 GB. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  for (; value >= 1000 && at < units.length - 1; at++) value /= 1000;
  return `${number(value, 0, value < 10 && at > 0 ? 1 : 0)}${NBSP}${units[at]}`;
}

/** Several names in one sentence: a, b and c. */
export function list(names: string[]): string {
  const tag = locale();
  return cached(`l${tag}`, () => new Intl.ListFormat(tag, { type: 'conjunction' })).format(names);
}
