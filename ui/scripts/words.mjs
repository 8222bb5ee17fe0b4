// Which messages each part of an entry needs, read from the sources: a part that is loaded late brings its words with it.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const LATE = /(?<!typeof )\bimport\(\s*['"](\.[^'"]+\.svelte)['"]\s*\)/g;

const textOf = (path) => readFileSync(join(root, path), 'utf8');

/** The keys that stand in a source, and the beginnings of those it puts together. */
export function uses(text) {
  const whole = [...text.matchAll(/['"`]([a-z]+(?:_[a-z]+)*\.[a-z0-9_.]+)['"`]/g)].map((match) => match[1]);
  const stems = [...text.matchAll(/`([a-z_]+\.(?:[a-z0-9_]+\.)*)\$\{/g)].map((match) => match[1]);
  return [...whole, ...stems];
}

/** Whether a message is among what `uses` found. */
export const isUsed = (key, used) => used.has(key) || key.split('.').some((_, at, parts) => used.has(`${parts.slice(0, at).join('.')}.`));

function beside(from, path) {
  const found = relative(root, join(root, dirname(from), path));
  return [found, `${found}.ts`].find((one) => /\.(svelte|ts)$/.test(one) && existsSync(join(root, one)));
}

/** The parts that a source asks for later. */
export const lateOnes = (file) => [...textOf(file).matchAll(LATE)].map(([, path]) => beside(file, path));

/** The sources that come with one: itself and all it imports at once. */
export function together(file, found = new Set()) {
  if (!file || found.has(file)) return found;
  found.add(file);
  for (const [, path] of textOf(file).matchAll(/^\s*(?:import|export)\s+(?!type\s)(?:[^'"();=]*?\sfrom\s+)?['"](\.[^'"]+)['"]/gm)) together(beside(file, path), found);
  return found;
}

/** For one entry: the keys of `en` that its first script carries (under its name), and those that each late part brings beyond what asked for it. */
export function split(entry, en) {
  const all = Object.keys(en);
  const keys = (files) => {
    const used = new Set([...files].flatMap((file) => uses(textOf(file))));
    return all.filter((key) => isUsed(key, used));
  };
  const first = `${entry}/main.ts`;
  const base = new Set(keys(together(first)));
  const tables = new Map([[first, base]]);
  const waiting = [first];
  for (const start of waiting) {
    const files = together(start);
    const known = new Set([...base, ...keys(files)]);
    for (const file of files) {
      for (const part of lateOnes(file)) {
        if (!tables.has(part)) waiting.push(part);
        tables.set(part, new Set([...(tables.get(part) ?? []), ...keys(together(part)).filter((key) => !known.has(key))]));
      }
    }
  }
  return tables;
}

/** The plugin that gives the first script of an entry its own words, and each late part the rest of its own. */
export function words(entry) {
  const tables = split(entry, JSON.parse(textOf('messages/en.json')));
  return {
    name: 'words',
    apply: 'build',
    resolveId: {
      order: 'pre',
      handler(source) {
        const [, lang, part] = /\/messages\/(\w+)\.json(?:\?of=(.*))?$/.exec(source) ?? [];
        return lang ? `\0${part ?? `${entry}/main.ts`}:${lang}` : null;
      },
    },
    load(id) {
      const [, part, lang] = /^\0(.*):(\w+)$/.exec(id) ?? [];
      if (!tables.has(part)) return null;
      const all = Object.entries(JSON.parse(textOf(`messages/${lang}.json`)));
      return `export default ${JSON.stringify(Object.fromEntries(all.filter(([key]) => tables.get(part).has(key))))}`;
    },
    transform(code, id) {
      const file = relative(root, id);
      if (file.startsWith('..') || !/\.(svelte|ts)$/.test(file)) return null;
      const to = (path) => `./${relative(dirname(file), path)}`;
      const carried = code.replace(LATE, (site, path) => {
        const part = beside(file, path);
        const table = (lang) => `${lang}: () => import('${to(`messages/${lang}.json`)}?of=${part}')`;
        return tables.get(part)?.size ? `worded(${site}, '${part}', { ${table('ar')}, ${table('en')} })` : site;
      });
      return carried === code ? null : { code: `import { worded } from '${to('lib/i18n.svelte')}';\n${carried}`, map: null };
    },
  };
}
