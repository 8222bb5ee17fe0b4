import ar from '../messages/ar.json';
import en from '../messages/en.json';
import { number } from './format';
import { prefs, type Lang } from './prefs.svelte';

type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
type Table = Record<string, string | Plural>;
export type Key = keyof typeof en;

const tables: Record<Lang, Table> = { ar, en };
const rules: Record<Lang, Intl.PluralRules> = { ar: new Intl.PluralRules('ar'), en: new Intl.PluralRules('en') };

function fill(value: string | number | undefined): string {
  if (typeof value === 'number') return number(value);
  return value === undefined ? '' : `\u2068${value}\u2069`; // isolated: a Latin name keeps its place in an Arabic sentence
}

/** The message in the current language; `n` picks the plural form. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const entry = tables[prefs.lang][key] ?? key;
  const text = typeof entry === 'string' ? entry : (entry[rules[prefs.lang].select(Number(values.n))] ?? entry.other);
  return text.replace(/\{(\w+)\}/g, (_, name: string) => fill(values[name]));
}

/** The message for a key that is only known at run time, or the fallback. */
export function maybe(key: string, fallback: string): string {
  return key in tables[prefs.lang] ? t(key as Key) : fallback;
}

/** The one of two texts of the server that fits the page's language. */
export function either(texts: { message_ar?: string | null; message_en?: string | null }, fallback = ''): string {
  return (prefs.lang === 'ar' ? texts.message_ar : texts.message_en) || texts.message_en || texts.message_ar || fallback;
}
