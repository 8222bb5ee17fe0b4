import type en from '../messages/en.json';
import { number } from './format';
import { prefs, type Lang } from './prefs.svelte';

type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
type Table = Record<string, string | Plural>;
export type Key = keyof typeof en;

type Words = Record<Lang, () => Promise<{ default: Table }>>;

/** The words of the first script, and those that came with the parts loaded since, by the part. */
const sources = new Map<string, Words>([['', { ar: () => import('../messages/ar.json'), en: () => import('../messages/en.json') }]]);
const tables: Record<Lang, Table> = { ar: {}, en: {} };
const rules: Record<Lang, Intl.PluralRules> = { ar: new Intl.PluralRules('ar'), en: new Intl.PluralRules('en') };
let wanted = prefs.lang;
let table = $state.raw<Table>(tables[wanted]);

const bring = async (words: Words, lang: Lang): Promise<unknown> => Object.assign(tables[lang], (await words[lang]()).default);

export async function loadMessages(lang: Lang): Promise<void> {
  wanted = lang;
  await Promise.all([...sources.values()].map((words) => bring(words, lang)));
  table = tables[lang];
}

/** A part of the interface that is loaded late, once its words are there too; the build writes the calls (scripts/words.mjs). */
export async function worded<T>(part: Promise<T>, name: string, words: Words): Promise<T> {
  sources.set(name, words);
  await bring(words, wanted);
  return part;
}

/** Show the pages in this language from now on, and remember it. */
export async function useLanguage(lang: Lang): Promise<void> {
  try {
    await loadMessages(lang);
    prefs.set({ lang });
  } catch {
    prefs.set({ lang }); // this page is older than the server's files: a fresh one has them
    location.reload();
  }
}

const ISOLATE = String.fromCodePoint(0x2068);
const END = String.fromCodePoint(0x2069);

function fill(value: string | number | undefined): string {
  if (typeof value === 'number') return number(value);
  return value === undefined ? '' : `${ISOLATE}${value}${END}`; // isolated: a Latin name keeps its place in an Arabic sentence
}

/** The message in the current language; `n` picks the plural form. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const entry = table[key] ?? key;
  const text = typeof entry === 'string' ? entry : (entry[rules[prefs.lang].select(Number(values.n))] ?? entry.other);
  return text.replace(/\{(\w+)\}/g, (_, name: string) => fill(values[name]));
}

/** The message for a key that is only known at run time, or the fallback. */
export function maybe(key: string, fallback: string): string {
  return key in table ? t(key as Key) : fallback;
}

/** The one of two texts of the server that fits the page's language. */
export function either(texts: { message_ar?: string | null; message_en?: string | null }, fallback = ''): string {
  return (prefs.lang === 'ar' ? texts.message_ar : texts.message_en) || texts.message_en || texts.message_ar || fallback;
}
