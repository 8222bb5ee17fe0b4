import { prefs } from './prefs.svelte';

const NBSP = '\u00a0';
const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function locale(calendar = ''): string {
  const base = prefs.lang === 'ar' ? 'ar' : 'en-GB';
  const digits = prefs.lang === 'ar' ? prefs.digits : 'latn';
  return `${base}-u${calendar && `-ca-${calendar}`}-nu-${digits}`;
}

function cached<T extends Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>(key: string, make: () => T): T {
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

export function money(value: string | number, currency = 'SAR'): string {
  return `${amount(value)}${NBSP}${currencyName(currency)}`;
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
