import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { entries } from './scripts/entries.mjs';
import { words } from './scripts/words.mjs';

const backend = process.env.BACKEND ?? 'http://127.0.0.1:8000';

export default defineConfig(({ mode }) => {
  const name = mode === 'console' ? 'console' : 'erp';
  const { base, out } = entries[name];
  return {
    root: name,
    base,
    publicDir: '../lib/public',
    plugins: [svelte({ configFile: '../svelte.config.js' }), words(name)],
    html: { cspNonce: '__NONCE__' },
    server: { proxy: { '/api': backend, '/_rakiza': backend, '/healthz': backend } },
    // only the page knows where it stands, so that the server can offer it in two places
    experimental: { renderBuiltUrl: (file, { hostType }) => (hostType === 'html' ? base + file : { relative: true }) },
    build: {
      outDir: `../${out}`,
      emptyOutDir: true,
      target: 'es2022',
      cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
      manifest: true,
      sourcemap: false,
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      rolldownOptions: {
        output: {
          codeSplitting: {
            groups: [{ name: 'base', test: /node_modules\/(?!uplot)|\/ui\/lib\/(?!components\/(Palette|SignIn|Account))|\/(erp|console)\/(session|names|api|live|pages\.ts)/ }],
          },
        },
      },
    },
  };
});
