// For the tests: a module of the interface that needs no browser, without its types.
import { readFileSync } from 'node:fs';
import { transformWithOxc } from 'vite';

export async function load(path) {
  const { code } = await transformWithOxc(readFileSync(new URL(path, new URL('..', import.meta.url)), 'utf8'), path);
  return import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`);
}
